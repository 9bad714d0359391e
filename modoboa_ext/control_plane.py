"""The client of the control plane's REST API: one method a resource, errors named for what a caller does next."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from modoboa_ext.settings import option

OWNER = "modoboa"
CONNECT_SECONDS = 2.0
READ_SECONDS = 10.0
NO_CONTENT = 204
NOT_FOUND = 404


class ControlPlaneError(Exception):
    """The control plane did not do what was asked; `message` is a sentence for an administrator."""

    status = 502

    def __init__(self, message: str, errors: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.errors = errors


class Unreachable(ControlPlaneError):
    """No answer, or one that says to come back later: the same request again may succeed."""

    status = 503


class Unauthorised(ControlPlaneError):
    """The token is missing, wrong or read-only: an operator must set VIRTUALHOSTS["CONTROL_TOKEN"]."""


class Absent(ControlPlaneError):
    """There is no such thing at the control plane."""

    status = 404


class Failed(ControlPlaneError):
    """It broke at this very request (500): another one may succeed."""


class Refused(ControlPlaneError):
    """The request will not succeed as it stands (409, 413, 422 and the like)."""

    def __init__(self, message: str, errors: Any, status: int) -> None:
        super().__init__(message, errors)
        self.status = status


class ControlPlane:
    """Speaks to `url` (without `/api/v1`) with a bearer token. Times are seconds."""

    def __init__(self, url: str, token: str | None, read_seconds: float = READ_SECONDS) -> None:
        self.base = url.rstrip("/") + "/api/v1"
        self.timeout = (CONNECT_SECONDS, read_seconds)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token or ''}"

    def call(self, method: str, path: str, needs: str | None = None, **request: Any) -> Any:
        """Send one request; the object in the answer, or None for an empty one. Raises ControlPlaneError.

        Unreachable too where the answer has no field that is called as `needs` says.
        """
        answer = self.exchange(method, path, **request)
        found = answer.json() if answer.content else None
        if needs is not None and needs not in (found or {}):
            raise self.stranger()
        return found

    def exchange(self, method: str, path: str, **request: Any) -> requests.Response:
        """The same with the answer's headers. Raises ControlPlaneError."""
        try:
            answer = self.session.request(method, self.base + path, timeout=self.timeout, **request)
        except requests.RequestException as error:
            raise Unreachable(
                f"The control plane at {self.base} does not answer: is it running? "
                f"({type(error).__name__})"
            ) from error
        if not self.is_ours(answer):
            raise self.stranger()
        if not answer.ok:
            raise failure(answer)
        return answer

    def is_ours(self, answer: requests.Response) -> bool:
        """Whether the control plane says so; any server says that something fails, or is not its to do."""
        if answer.status_code == NOT_FOUND:
            return "message" in (object_in(answer) or {})
        return not answer.ok or answer.status_code == NO_CONTENT or object_in(answer) is not None

    def stranger(self) -> Unreachable:
        """What answers is not the control plane: another server, or a proxy's page."""
        return Unreachable(
            f"What answers at {self.base} is not the control plane: "
            'check VIRTUALHOSTS["CONTROL_URL"].'
        )

    def put(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Create or update the virtual host `name`; idempotent."""
        return self.call("PUT", host_path(name), "hostname", json={"owner": OWNER, **wanted})

    def delete(self, name: str, generation: int) -> None:
        """Remove the virtual host; one that is not there counts as removed."""
        try:
            query = {"generation": generation, "owner": OWNER}
            answer = self.exchange("DELETE", host_path(name), params=query)
        except Absent:
            return
        if answer.status_code != NO_CONTENT:
            raise self.stranger()

    def get(self, name: str) -> dict[str, Any]:
        """The virtual host, with status, error and certificate."""
        return self.call("GET", host_path(name), "hostname")

    def find(self, name: str) -> dict[str, Any] | None:
        """The same; None where there is none."""
        try:
            return self.get(name)
        except Absent:
            return None

    def all(self) -> list[dict[str, Any]]:
        """Every virtual host this installation owns, page by page."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            query = {"owner": OWNER, "limit": 500, **({"after": after} if after else {})}
            page = self.call("GET", "/virtualhosts", "items", params=query)
            items += page["items"]
            after = page.get("next") or ""
            if not after:
                return items

    def reserved_hostnames(self) -> list[str]:
        """The names that its operator keeps from everybody."""
        return self.call("GET", "/settings/reserved_hostnames", "items")["items"]

    def part(self, method: str, name: str, part: str, **request: Any) -> Any:
        """A resource below a virtual host: `theme`, `events`, `preflight`, `retry`, `logos/login`, …"""
        return self.call(method, host_path(name, part), **request)


def host_path(name: str, part: str = "") -> str:
    """The path of a virtual host, or of a part of it, below the base."""
    return "/virtualhosts/" + quote(name, safe="") + (f"/{part}" if part else "")


def object_in(answer: requests.Response) -> dict[str, Any] | None:
    """The JSON object that an answer is; None where it is anything else."""
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def failure(answer: requests.Response) -> ControlPlaneError:
    """The error that a refusing answer stands for, with the control plane's own sentence."""
    body = object_in(answer) or {}
    message = str(body.get("message") or f"The control plane answered {answer.status_code}.")
    if answer.status_code == 401 or answer.status_code == 403:
        return Unauthorised(
            f'{message} Check VIRTUALHOSTS["CONTROL_TOKEN"] '
            "(made by: edgectl token create modoboa)."
        )
    if answer.status_code == NOT_FOUND:
        return Absent(message)
    if answer.status_code == 500:
        return Failed(message)
    if answer.status_code > 500 or answer.status_code == 429:
        return Unreachable(message)
    return Refused(message, body.get("errors"), answer.status_code)


def connect(read_seconds: float = READ_SECONDS) -> ControlPlane:
    """The client that VIRTUALHOSTS describes; ControlPlaneError where it describes none."""
    url = option("CONTROL_URL")
    if not url:
        raise ControlPlaneError('No control plane is configured: set VIRTUALHOSTS["CONTROL_URL"].')
    return ControlPlane(url, option("CONTROL_TOKEN"), read_seconds)
