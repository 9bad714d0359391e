"""What a request is handled with: the connected control plane, and who asks."""

from __future__ import annotations

from typing import cast

from flask import current_app, g, request

from control.plane import Plane, Who


def plane() -> Plane:
    """The control plane of this application."""
    return cast(Plane, current_app.extensions["plane"])


def who() -> Who:
    """The token's name, the client's address, the request's id."""
    return Who(g.get("token", "anonymous"), request.remote_addr, g.get("request_id"))
