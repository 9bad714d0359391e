"""HttpMessenger: the port Messenger on one connection to the very address that was judged."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from control.addresses import is_public
from control.ports import NotTold

LARGEST_ANSWER = 4096


class HttpMessenger:
    """POSTs to public addresses only, unless private ones are allowed; a redirect is not followed."""

    def __init__(
        self, *, allow_private: bool = False, seconds: float = 5.0, ca_bundle: str | None = None
    ) -> None:
        """`seconds` for each wait, `ca_bundle` a PEM file trusted instead of the system's."""
        self._allow_private = allow_private
        self._seconds = seconds
        self._ca_bundle = ca_bundle

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See the port."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection(host, port, timeout=self._seconds)
        try:
            connection.sock = self._connect(host, port, secure=parts.scheme == "https")
            named = {"Host": parts.netloc, "User-Agent": "modoboa-edge (webhook)"}
            connection.request("POST", path, body, {**named, **headers})
            answer = connection.getresponse()
            answer.read(LARGEST_ANSWER)
            return answer.status
        except (OSError, http.client.HTTPException) as problem:
            raise NotTold(f"{host} port {port}: {_plain(problem)}") from problem
        finally:
            connection.close()

    def _connect(self, host: str, port: int, *, secure: bool) -> socket.socket:
        """A connection to an address of `host` that may be asked."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(one[4][0]) for one in found]
        allowed = [a for a in addresses if self._allow_private or is_public(a)]
        if not allowed:
            raise NotTold(f"{host} is at {', '.join(addresses)}, which is no public address")
        raw = socket.create_connection((allowed[0], port), self._seconds)
        if not secure:
            return raw
        try:
            context = ssl.create_default_context(cafile=self._ca_bundle)
            return context.wrap_socket(raw, server_hostname=host)
        except (OSError, ValueError):
            raw.close()
            raise


def _plain(problem: Exception) -> str:
    """The fault in words."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({problem.verify_message})"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem) or type(problem).__name__
