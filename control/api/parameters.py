"""Query parameters that nobody reads are refused: a filter that is misspelt must not answer with everything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, request

from control.api.errors import answer

Known = Mapping[tuple[str, str], frozenset[str]]
_VARIABLE = re.compile(r"<(?:[^<>:]*:)?([^<>]+)>")


def known(document: Mapping[str, Any]) -> Known:
    """Names of the query parameters of each (path, method) of an OpenAPI document."""
    found = {}
    for path, operations in document["paths"].items():
        shared = operations.get("parameters", [])
        for method, operation in operations.items():
            if method != "parameters":
                listed = [*shared, *operation.get("parameters", [])]
                names = frozenset(p["name"] for p in listed if p["in"] == "query")
                found[path, method.upper()] = names
    return found


def refuse_unknown(names: Known) -> Response | None:
    """A 422 that names the first parameter that this path does not have, and the nearest that it has."""
    if request.url_rule is None or not request.args:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    here = names.get((_VARIABLE.sub(r"{\1}", request.url_rule.rule), method))
    strange = [] if here is None else sorted(request.args.keys() - here)
    if not strange or here is None:
        return None
    near = difflib.get_close_matches(strange[0], here, n=1)
    others = f"there are {', '.join(sorted(here))}" if here else "this path takes none"
    hint = f"did you mean {near[0]}?" if near else others
    errors = {"query": {name: ["there is no such parameter"] for name in strange}}
    message = f"unknown query parameter {strange[0][:40]!r}: {hint}"
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, message, errors)
