"""Who changes what somebody else has changed meanwhile is told so: ETag and If-Match (RFC 9110 §8.8.3, §13.1.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import request

CHANGED = "changed since the answer whose ETag is in If-Match"
Shown = Mapping[str, Any]
Record = TypeVar("Record")


class Changed(Exception):
    """It is no longer what the request's If-Match names; the text says what to do."""


def tagged(shown: Shown) -> tuple[Shown, int, dict[str, str]]:
    """An answer of 200 with the ETag of what it shows: who saw the same has the same."""
    return shown, 200, {"ETag": f'"{_version(shown)}"'}


def unless_changed(shown: Callable[[Record], Shown]) -> Callable[[Record], None]:
    """A check for inside the transaction, where nobody else writes: raises Changed.

    Without If-Match nothing is checked: who comes last wins. A tag that a proxy has weakened, because it
    compressed the answer, counts as well.
    """
    known = request.if_match

    def check(record: Record) -> None:
        if known and not known.contains_weak(_version(shown(record))):
            raise Changed("somebody else has changed this meanwhile: read it again, then change it")

    return check


def _version(shown: Shown) -> str:
    text = json.dumps(shown, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
