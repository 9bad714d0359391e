"""The tables of the extension, step by step."""
