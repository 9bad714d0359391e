"""Requests to one CA: one origin, signed, with nonces, Retry-After and lost connections taken care of."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.message import Message
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

from josepy.b64 import b64decode

from control.adapters.acme_authority import connections, problems, retry_after
from control.adapters.acme_authority.connections import Connections
from control.adapters.acme_authority.signing import Signer
from control.ports import AuthorityError, Problem

T = TypeVar("T")

NONCE_TRIES = 11  # the first and ten more
SHORT_WAIT = timedelta(seconds=5)  # a 503 that asks for no more than this is waited out here
PATIENCE = 20.0  # seconds after which a request that keeps failing is not tried again
_PASSING = {"ca_unavailable", "ca_unreachable", "ca_timeout", "ca_unreadable"}


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine by name or address."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Answer:
    """A CA's answer, read to its end: status, headers, body, and when it asks us to come back."""

    def __init__(self, url: str, status: int, headers: Message, body: bytes, now: datetime) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body
        self.not_before = retry_after.parse(headers.get("Retry-After"), now, headers.get("Date"))

    @property
    def problem(self) -> Problem | None:
        """What a refusal says; None where it is not a problem document."""
        return None if self.status < 400 else problems.read(self._json())

    @property
    def location(self) -> str:
        """The new resource's URL; AuthorityError `ca_unreadable` without one."""
        location = self.headers.get("Location")
        if not location:
            raise AuthorityError("ca_unreadable", f"{self.url} answered without a Location header")
        return location

    def object(self) -> dict[str, Any]:
        """The body as a JSON object, whatever its Content-Type; AuthorityError `ca_unreadable`."""
        document = self._json()
        if not isinstance(document, dict):
            start = self.body[:80].decode("utf-8", "replace")
            raise AuthorityError("ca_unreadable", f"{self.url} answered no JSON object: {start!r}")
        return document

    def _json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def checked(self) -> Answer:
        """This answer, or the AuthorityError that it stands for."""
        if self.status < 300:
            return self
        words = f"{self.url} answered {self.status}"
        raise problems.refusal(self.problem, self.status, words, self.not_before)


class Wire:
    """The connection to one CA, shared by threads; no request leaves the directory's origin."""

    def __init__(
        self,
        directory_url: str,
        *,
        ca_bundle: str | None,
        timeout: float,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        user_agent: str,
    ) -> None:
        self._origin = urlsplit(directory_url)
        self._loopback = is_loopback(directory_url)
        self._user_agent = user_agent
        self._connections = Connections(directory_url, ca_bundle=ca_bundle, timeout=timeout)
        self._now = now
        self._sleep = sleep
        self._nonces: deque[bytes] = deque(maxlen=64)
        self._quiet_until: datetime | None = None
        self._lock = threading.Lock()

    def check(self, url: str) -> str:
        """Return `url`; AuthorityError `ca_foreign_endpoint` unless https (loopback: http too) and ours."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self._loopback):
            raise AuthorityError("ca_foreign_endpoint", f"{url} is not https")
        if (parts.scheme, parts.netloc) != (self._origin.scheme, self._origin.netloc):
            raise AuthorityError("ca_foreign_endpoint", f"{url} is not at {self._origin.netloc}")
        return url

    def get(self, url: str) -> Answer:
        """GET of a JSON object without a signature, tried again while that may help."""

        def attempt() -> Answer:
            answer = self._send("GET", url).checked()
            answer.object()
            return answer

        return self._persist(attempt)

    def post(
        self,
        url: str,
        signer: Signer,
        payload: Mapping[str, Any] | None,
        *,
        new_nonce: str,
        readable: Callable[[Answer], object] = Answer.object,
    ) -> Answer:
        """POST signed; `payload` None is POST-as-GET (RFC 8555 §6.3). Raises AuthorityError.

        An answer that `readable` raises on counts as not having arrived.
        """
        body = b"" if payload is None else json.dumps(payload).encode()

        def attempt() -> Answer:
            answer = self._signed(url, signer, body, new_nonce).checked()
            readable(answer)
            return answer

        return self._persist(attempt)

    def _signed(self, url: str, signer: Signer, body: bytes, new_nonce: str) -> Answer:
        """Send with one nonce after another until the CA accepts one (RFC 8555 §6.5)."""
        for _ in range(NONCE_TRIES):
            signed = signer.sign(body, url, self._nonce(new_nonce))
            answer = self._send("POST", url, signed)
            if not (answer.problem and answer.problem.type == "badNonce"):
                break
        return answer

    def _nonce(self, new_nonce: str) -> bytes:
        """The newest nonce that the CA gave us, or a fresh one."""
        with self._lock:
            if self._nonces:
                return self._nonces.pop()
        self._send("HEAD", new_nonce).checked()
        with self._lock:
            if self._nonces:
                return self._nonces.pop()
        raise AuthorityError("ca_unreadable", f"{new_nonce} answered without a Replay-Nonce")

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Try again with backoff after what may pass by itself; what is left is raised."""
        started = time.monotonic()
        for pause in retry_after.backoff():
            self._respect_quiet()
            try:
                return attempt()
            except AuthorityError as error:
                self._note_quiet(error)
                if error.reason not in _PASSING or time.monotonic() - started > PATIENCE:
                    raise
            self._sleep(pause)
        self._respect_quiet()
        return attempt()

    def _note_quiet(self, error: AuthorityError) -> None:
        """A 503 with Retry-After is meant for the whole client (RFC 9110 §15.6.4); raised when long."""
        if error.reason == "ca_unavailable" and error.not_before:
            self._quiet_until = error.not_before
            if error.not_before - self._now() > SHORT_WAIT:
                raise error

    def _respect_quiet(self) -> None:
        """Wait out a short quiet time; a long one is the caller's to schedule."""
        until = self._quiet_until
        if until is None:
            return
        left = until - self._now()
        if left > SHORT_WAIT:
            words = "the CA asked for quiet (503 with Retry-After)"
            raise AuthorityError("ca_unavailable", words, not_before=until)
        if left > timedelta(0):
            self._sleep(left.total_seconds())
        self._quiet_until = None

    def _send(self, method: str, url: str, body: str | None = None) -> Answer:
        """One request and its whole answer; its nonce is kept, whatever its status."""
        parts = urlsplit(self.check(url))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": self._user_agent}
        if body:
            headers["Content-Type"] = "application/jose+json"
        data = body.encode() if body else None
        try:
            status, said, content = self._connections.exchange(method, target, data, headers)
        except (OSError, HTTPException) as error:
            raise AuthorityError(connections.kind(error), f"{url}: {error!r}") from error
        answer = Answer(url, status, said, content, self._now())
        self._keep_nonce(answer)
        return answer

    def _keep_nonce(self, answer: Answer) -> None:
        """Keep the answer's Replay-Nonce (RFC 8555 §6.5.1), unless it is no base64url."""
        text = answer.headers.get("Replay-Nonce")
        if not text:
            return
        try:
            nonce = b64decode(text)
        except (ValueError, TypeError):
            return
        with self._lock:
            self._nonces.append(nonce)
