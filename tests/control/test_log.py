"""Log lines are JSON, and nothing secret is in them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest

from control import log


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the log goes."""
    stream = io.StringIO()
    configuration = log.settings()
    configuration["handlers"]["stderr"]["stream"] = stream
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logging.config.dictConfig(configuration)
    yield stream
    root.handlers[:], root.level = handlers, level


LOGGER = logging.getLogger("control.test")
SECRETS = [
    "-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----",
    "Authorization: Bearer edge_" + "x" * 43,
    "edge_" + "y" * 43,
    "v1:k1:" + "QUJD" * 20,
    "redis://user:hunter2@redis.example/0",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_hidden(lines: io.StringIO, secret: str) -> None:
    LOGGER.error("failed: %s", secret, extra={"detail": {"inner": [secret]}})
    line = lines.getvalue()
    entry = json.loads(line)
    assert entry["level"] == "error"
    for part in ("MIIabc", "x" * 43, "y" * 43, "QUJDQUJD", "hunter2"):
        assert part not in line


def test_what_is_named_like_a_secret_is_hidden(lines: io.StringIO) -> None:
    LOGGER.info("x", extra={"private_key": "abc", "eab_hmac_key": "def", "token": "modoboa"})
    entry = json.loads(lines.getvalue())
    assert entry["private_key"] == entry["eab_hmac_key"] == log.HIDDEN
    assert entry["token"] == "modoboa", "the name of a token is no secret"


def test_a_traceback_is_redacted_too(lines: io.StringIO) -> None:
    try:
        raise ValueError(SECRETS[3])
    except ValueError:
        LOGGER.exception("failed")
    assert "QUJDQUJD" not in lines.getvalue()
