"""edgectl account new-key and host revoke, against a CA that speaks ACME."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.process import free_port
from tests.control.test_cli import Run, bare, edgectl, env  # noqa: F401
from tests.fakes.ca_server import CaServer


@pytest.fixture
def server() -> Iterator[CaServer]:
    """A CA of this test's own; nobody answers its challenges."""
    server = CaServer(free_port())
    yield server
    server.close()


def test_the_account_gets_a_new_key(edgectl: Run, server: CaServer) -> None:  # noqa: F811
    for times in (1, 2):
        result = edgectl("account", "new-key", ACME_DIRECTORY_URL=server.directory_url)
        assert result.exit_code == 0, result.output
        assert "has a new key" in result.output
        assert server.count("keyChange") == times
    assert len(server.accounts) == 1


def test_a_ca_that_is_away_is_said_in_a_sentence(edgectl: Run) -> None:  # noqa: F811
    result = edgectl("account", "new-key")
    assert result.exit_code == 1
    assert "Error: ca_unreachable:" in result.output


def test_only_what_is_there_can_be_revoked(edgectl: Run) -> None:  # noqa: F811
    result = edgectl("host", "revoke", "mail.acme.test", "--yes")
    assert result.exit_code == 1
    assert "there is no virtual host mail.acme.test" in result.output
