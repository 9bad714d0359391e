"""The outside, one module each: what `control.ports` asks for, spoken in the words of a library."""
