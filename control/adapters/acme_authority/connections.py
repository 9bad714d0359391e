"""Kept-alive HTTPS connections to one origin, shared by threads, with an end to every wait."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LARGEST_ANSWER = 1 << 20  # bytes; a chain has some 5 kB
LONGEST_IDLE = 20.0  # seconds; servers close what is idle for longer


@dataclass
class _Connection:
    """One connection, and since when nothing was asked on it (monotonic seconds)."""

    http: http.client.HTTPConnection
    idle_since: float = field(default_factory=time.monotonic)


class Connections:
    """Opens, keeps and discards the connections to `origin`; OSError or HTTPException when one is lost."""

    def __init__(self, origin: str, *, ca_bundle: str | None, timeout: float) -> None:
        """`origin` is an http(s) URL, `ca_bundle` a PEM file trusted besides the system's."""
        parts = urlsplit(origin)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._timeout = timeout
        self._context = _context(ca_bundle) if parts.scheme == "https" else None
        self._proxy = _proxy(parts.scheme, self._host)
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Message, bytes]:
        """Status, headers and whole body of one request; TimeoutError when the body takes too long."""
        connection = self._take()
        try:
            connection.request(method, target, body, dict(headers))
            with connection.getresponse() as response:
                content = self._read(response)
            reusable = not response.will_close
        except BaseException:
            connection.close()
            self._discard_idle()
            raise
        if reusable:
            with self._lock:
                self._idle.append(_Connection(connection))
        else:
            connection.close()
        return response.status, response.headers, content

    def _take(self) -> http.client.HTTPConnection:
        """The connection used last, unless it is idle for too long; else a new one."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is None:
            return self._open()
        if time.monotonic() - kept.idle_since < LONGEST_IDLE:
            return kept.http
        kept.http.close()
        self._discard_idle()
        return self._open()

    def _discard_idle(self) -> None:
        """What is idle was used before the one that was lost, so it is lost too."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.http.close()

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._proxy or (self._host, self._port)
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection = http.client.HTTPSConnection(
            host, port, timeout=self._timeout, context=self._context
        )
        if self._proxy:
            connection.set_tunnel(self._host, self._port)
        return connection

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The body piece by piece, so that one that drips, never ends or ends early is given up."""
        deadline = time.monotonic() + self._timeout
        pieces = bytearray()
        while piece := response.read1(65536):
            pieces += piece
            if len(pieces) > LARGEST_ANSWER:
                raise http.client.HTTPException(f"answer of more than {LARGEST_ANSWER} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer's body came too slowly")
        if response.length:
            raise http.client.IncompleteRead(bytes(pieces), response.length)
        return bytes(pieces)


def _context(ca_bundle: str | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting the system's roots, and `ca_bundle` where there is one."""
    context = ssl.create_default_context()
    if ca_bundle:
        context.load_verify_locations(cafile=ca_bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _proxy(scheme: str, host: str) -> tuple[str, int] | None:
    """The machine's HTTPS proxy, where it has one and `host` is not exempt from it."""
    proxy = getproxies().get("https") if scheme == "https" else None
    if not proxy or host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return (parts.hostname, parts.port or 3128) if parts.hostname else None


def kind(error: Exception) -> str:
    """The reason code for a request that got no whole answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "ca_untrusted"
    if isinstance(error, TimeoutError | socket.timeout):
        return "ca_timeout"
    return "ca_unreachable"
