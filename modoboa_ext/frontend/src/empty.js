// A remote has no page of its own: the bundler's input, and nothing else.
