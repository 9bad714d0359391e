"""HttpStatus: what an edge's status listener says of one hostname."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

SECONDS = 3.0
LARGEST_ANSWER = 65536


class HttpStatus:
    """Asks `GET /hosts/<hostname>` of an edge."""

    def report(self, url: str, hostname: str) -> Mapping[str, Any]:
        """The edge's JSON, also of a hostname that it does not know; ConnectionError in words without an answer."""
        request = urllib.request.Request(f"{url}/hosts/{quote(hostname, safe='')}")  # noqa: S310 # settings allow http(s) only
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                said = answer.read(LARGEST_ANSWER)
        except urllib.error.HTTPError as unknown:
            said = unknown.read(LARGEST_ANSWER)
        except urllib.error.URLError as problem:
            raise ConnectionError(f"does not answer ({problem.reason})") from problem
        except (OSError, HTTPException) as problem:
            raise ConnectionError(f"does not answer ({problem})") from problem
        try:
            found = json.loads(said)
        except ValueError as problem:
            raise ConnectionError("is not an edge's status listener") from problem
        if not isinstance(found, dict) or "state" not in found:
            raise ConnectionError("is not an edge's status listener")
        return found
