"""Starting the whole system on loopback: one description for the demo and for the tests."""
