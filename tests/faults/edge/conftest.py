"""The edges of tests/edge, for the long forms of their outages."""

from tests.edge.conftest import edges  # noqa: F401
