"""The long forms of the fuzz in tests/edge/test_abuse.py: a million ClientHellos, two hundred thousand requests."""

import os

import pytest

from tests.edge import mutations
from tests.edge.conftest import A

pytestmark = pytest.mark.long

HELLOS = int(os.environ.get("EDGE_FUZZ_HELLOS", "1000000"))
REQUESTS = int(os.environ.get("EDGE_FUZZ_REQUESTS", "200000"))


@pytest.fixture(scope="module")
def target(edges):
    edge = edges.make()
    edge.settle(edge.publisher.publish(A))
    edge.serves(A)
    return edge


def test_a_million_mutated_client_hellos(target):
    mutations.unharmed(target, "hellos", mutations.hellos(A), HELLOS)


def test_200000_mutated_requests(target):
    mutations.unharmed(target, "requests", mutations.requests(A), REQUESTS)
