"""The control plane: who has which certificate."""

__version__ = "0.1.0"
