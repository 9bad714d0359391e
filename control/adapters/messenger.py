"""HttpMessenger: the port Messenger on one connection to the very address that was judged."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from control.adapters.exchange import exchange, left
from control.addresses import is_public
from control.ports import NotTold


class HttpMessenger:
    """POSTs to public addresses only, unless private ones are allowed; a redirect is not followed."""

    def __init__(
        self, *, allow_private: bool = False, seconds: float = 5.0, ca_bundle: str | None = None
    ) -> None:
        """`seconds` for everything behind the look-up, `ca_bundle` a PEM file trusted instead of the system's."""
        self._allow_private = allow_private
        self._seconds = seconds
        self._ca_bundle = ca_bundle

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See the port."""
        where = url
        try:
            parts = urlsplit(url)
            where, port = parts.netloc, parts.port or (443 if parts.scheme == "https" else 80)
            addresses = self._addresses(parts.hostname or "", port)
            deadline = time.monotonic() + self._seconds
            with self._connect(addresses[0], port, parts, deadline) as connection:
                request = _request(parts, headers, body)
                return exchange(connection, request, deadline=deadline, largest=0)[0]
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise NotTold(f"{where}: {_plain(problem)}") from problem

    def _addresses(self, host: str, port: int) -> list[str]:
        """Where `host` may be asked; NotTold when nowhere, UnicodeError for what is no name."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(one[4][0]) for one in found]
        allowed = [a for a in addresses if self._allow_private or is_public(a)]
        if not allowed:
            raise NotTold(f"{host} is at {', '.join(addresses)}, which is no public address")
        return allowed

    def _connect(
        self, address: str, port: int, parts: SplitResult, deadline: float
    ) -> socket.socket:
        raw = socket.create_connection((address, port), left(deadline))
        if parts.scheme != "https":
            return raw
        try:
            context = ssl.create_default_context(cafile=self._ca_bundle)
            raw.settimeout(left(deadline))
            return context.wrap_socket(raw, server_hostname=parts.hostname)
        except (OSError, ValueError):
            raw.close()
            raise


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = {
        "Host": parts.netloc,
        "User-Agent": "modoboa-edge (webhook)",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


def _plain(problem: Exception) -> str:
    """The fault in words."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({problem.verify_message})"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem) or type(problem).__name__
