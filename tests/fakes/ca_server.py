"""A small ACME CA over HTTP for what Pebble lacks: rate limits, Retry-After, ARI, profiles, errors on demand.

It checks signatures, nonces and URLs, so that a client which passes here has spoken ACME. Longer than
other modules because it is one server: each method is one endpoint of RFC 8555 §7.
"""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import josepy
from acme import jws
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.fakes.issuer import Issuer, names_of

ERROR = "urn:ietf:params:acme:error:"


class Refused(Exception):
    """A problem document with its status and further headers."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.document = {"type": ERROR + kind, "detail": detail, "status": status, **more}


@dataclass
class Reply:
    """What an endpoint answers."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def data(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass
class Bucket:
    """A token bucket: `amount` at once, refilled over `seconds`."""

    amount: float
    seconds: float
    tokens: float = -1.0
    seen: float = 0.0

    def take(self, now: float) -> float:
        """Seconds until the next token; 0 when one was taken."""
        if self.tokens < 0:
            self.tokens = self.amount
        else:
            refill = (now - self.seen) * self.amount / self.seconds
            self.tokens = min(self.amount, self.tokens + refill)
        self.seen = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) * self.seconds / self.amount


@dataclass
class _Account:
    uri: str
    key: Any
    contact: list[str]
    status: str = "valid"


@dataclass
class _Order:
    number: int
    account: str
    names: list[str]
    token: str
    profile: str | None
    replaces: str | None
    status: str = "pending"
    error: dict[str, Any] | None = None
    challenge: str = "pending"
    looks: int = 0
    leaf: x509.Certificate | None = None


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that were killed in the middle of a request."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Anything else is a fault of this server, or of the client."""
        cut_off = (ConnectionError, josepy.errors.DeserializationError)
        if not isinstance(sys.exc_info()[1], cut_off):
            super().handle_error(request, client_address)


class CaServer:
    """Listens on 127.0.0.1 until closed; what a test may turn stands first in `__init__`."""

    def __init__(self, http_port: int, *, external_accounts: dict[str, str] | None = None) -> None:
        self.issuer = Issuer()
        self.profiles: dict[str, str] = {"classic": "90 days", "shortlived": "160 hours"}
        self.blocked = {"blocked.example"}
        self.windows: dict[str, tuple[datetime, datetime]] = {}
        self.default_window: tuple[datetime, datetime] | None = None
        self.explanation: str | None = None
        self.poll_retry_after: str | None = None
        self.renewal_retry_after: str | None = "21600"
        self.processing_looks = 0
        self.pause = 0.0
        self.offer = "http-01"
        self.buckets: dict[str, Bucket] = {}
        self.directory_extra: dict[str, Any] = {}
        self.external_accounts = external_accounts
        self.asked: list[tuple[float, str]] = []
        self.orders: dict[int, _Order] = {}
        self.accounts: dict[str, _Account] = {}
        self.revoked: dict[int, int] = {}
        self._replaced: set[str] = set()
        self._nonces: set[str] = set()
        self._numbers = itertools.count(1)
        self._on_demand: defaultdict[str, deque[Refused | Reply]] = defaultdict(deque)
        self.http_port = http_port
        self._lock = threading.RLock()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.directory_url = f"{self.base}/directory"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    # What tests ask and tell

    def say(self, endpoint: str, answer: Refused | Reply, times: int = 1) -> None:
        """Let the next `times` requests of an endpoint (`newOrder`, `order`, …) be answered so."""
        self._on_demand[endpoint].extend([answer] * times)

    def count(self, endpoint: str) -> int:
        """How many requests an endpoint has seen."""
        return sum(1 for _, name in self.asked if name == endpoint)

    def times(self, endpoint: str) -> list[float]:
        """When they came, in seconds of the monotonic clock."""
        return [moment for moment, name in self.asked if name == endpoint]

    def last_order(self) -> _Order:
        """The newest order."""
        return self.orders[max(self.orders)]

    # One request

    def handle(self, method: str, path: str, body: bytes) -> Reply:
        """Find the endpoint, let it answer, add a nonce."""
        name, _, rest = path.strip("/").partition("/")
        self.asked.append((time.monotonic(), name))
        time.sleep(self.pause)
        try:
            reply = self._reply(method, name, rest, body)
        except Refused as refused:
            kind = "application/problem+json"
            reply = Reply(refused.status, refused.document, dict(refused.headers), kind)
        reply.headers.setdefault("Replay-Nonce", self._new_nonce())
        return reply

    def _reply(self, method: str, name: str, rest: str, body: bytes) -> Reply:
        if self._on_demand[name]:
            answer = self._on_demand[name].popleft()
            if isinstance(answer, Refused):
                raise answer
            return Reply(answer.status, answer.body, dict(answer.headers), answer.content_type)
        if method in ("GET", "HEAD"):
            return self._unsigned(name, rest)
        endpoint: Callable[[str, _Account | Any, Any], Reply] | None
        endpoint = getattr(self, f"_post_{name}", None)
        if endpoint is None:
            raise Refused(404, "malformed", f"no {name}")
        signer, payload = self._verify(f"{self.base}/{name}" + (f"/{rest}" if rest else ""), body)
        with self._lock:
            self._limit(name)
            return endpoint(rest, signer, payload)

    def _limit(self, name: str) -> None:
        bucket = self.buckets.get(name)
        wait = bucket.take(time.monotonic()) if bucket else 0.0
        if wait:
            seconds = str(int(wait) + 1)
            raise Refused(429, "rateLimited", f"too many of {name}", {"Retry-After": seconds})

    def _new_nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonces.add(nonce)
        return nonce

    def _verify(self, url: str, body: bytes) -> tuple[Any, Any]:
        """The account, or the key where the request carries one; and the payload (RFC 8555 §6.2)."""
        signed = jws.JWS.json_loads(body.decode())
        header = signed.signature.combined
        nonce = base64.urlsafe_b64encode(header.nonce or b"").rstrip(b"=").decode()
        if nonce not in self._nonces:
            raise Refused(400, "badNonce", "unknown nonce")
        self._nonces.discard(nonce)
        if header.url != url:
            raise Refused(400, "unauthorized", f"url {header.url} is not {url}")
        account = self.accounts.get(header.kid) if header.kid else None
        if header.kid and account is None:
            raise Refused(400, "accountDoesNotExist", f"no account {header.kid}")
        key = account.key if account else header.jwk
        if not signed.verify(key=key):
            raise Refused(400, "malformed", "wrong signature")
        payload = json.loads(signed.payload) if signed.payload else None
        return account or key, payload

    # Endpoints

    def _unsigned(self, name: str, rest: str) -> Reply:
        if name == "directory":
            return Reply(200, self._directory())
        if name == "newNonce":
            return Reply(200)
        if name == "renewalInfo":
            return self._renewal_info(rest)
        raise Refused(405, "malformed", "POST only")

    def _directory(self) -> dict[str, Any]:
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo")
        meta = {
            "caaIdentities": ["fake-ca.test"],
            "profiles": self.profiles,
            "externalAccountRequired": self.external_accounts is not None,
        }
        return {**{n: f"{self.base}/{n}" for n in names}, "meta": meta, **self.directory_extra}

    def _renewal_info(self, identifier: str) -> Reply:
        if not any(_certificate_id(o.leaf) == identifier for o in self.orders.values() if o.leaf):
            raise Refused(404, "malformed", "no such certificate")
        window = self.windows.get(identifier, self.default_window)
        if window is None:
            now = datetime.now(UTC)
            window = (now + timedelta(days=59), now + timedelta(days=61))
        start, end = (moment.isoformat().replace("+00:00", "Z") for moment in window)
        body: dict[str, Any] = {"suggestedWindow": {"start": start, "end": end}}
        if self.explanation:
            body["explanationURL"] = self.explanation
        headers = {"Retry-After": self.renewal_retry_after} if self.renewal_retry_after else {}
        return Reply(200, body, headers)

    def _post_newAccount(self, rest: str, key: Any, payload: Any) -> Reply:  # noqa: N802
        for account in self.accounts.values():
            if account.key == key:
                return Reply(200, {"status": account.status}, {"Location": account.uri})
        if payload.get("onlyReturnExisting"):
            raise Refused(400, "accountDoesNotExist", "no account with this key")
        if self.external_accounts is not None:
            self._check_binding(payload.get("externalAccountBinding"), key)
        for contact in payload.get("contact", []):
            if "@" not in contact:
                raise Refused(400, "invalidContact", f"{contact} is no address")
        account = _Account(f"{self.base}/account/{next(self._numbers)}", key, [])
        self.accounts[account.uri] = account
        return Reply(201, {"status": "valid"}, {"Location": account.uri})

    def _check_binding(self, binding: Any, key: Any) -> None:
        if not binding:
            raise Refused(400, "externalAccountRequired", "an external account is required")
        signed = jws.JWS.from_json(binding)
        secret = (self.external_accounts or {}).get(signed.signature.combined.kid)
        hmac = josepy.JWKOct(key=josepy.b64decode(secret)) if secret else None
        if hmac is None or not signed.verify(key=hmac):
            raise Refused(403, "unauthorized", "the external account is not known")
        if json.loads(signed.payload) != key.to_partial_json():
            raise Refused(400, "malformed", "the binding is of another key")

    def _post_keyChange(self, rest: str, account: _Account, payload: Any) -> Reply:  # noqa: N802
        inner = jws.JWS.from_json(payload)
        new_key = inner.signature.combined.jwk
        said = json.loads(inner.payload)
        if not inner.verify(key=new_key) or said["account"] != account.uri:
            raise Refused(400, "malformed", "the inner request is not right")
        if josepy.JWK.from_json(said["oldKey"]) != account.key:
            raise Refused(400, "malformed", "not the old key")
        account.key = new_key
        return Reply(200, {"status": "valid"})

    def _post_newOrder(self, rest: str, account: _Account, payload: Any) -> Reply:  # noqa: N802
        names = [one["value"] for one in payload["identifiers"]]
        if self.blocked & set(names):
            raise Refused(400, "rejectedIdentifier", f"not for {names[0]}")
        profile = payload.get("profile")
        if profile is not None and profile not in self.profiles:
            raise Refused(400, "invalidProfile", f"no profile {profile}")
        replaces = payload.get("replaces")
        if replaces is not None:
            self._check_replaced(replaces)
        number = next(self._numbers)
        token = secrets.token_urlsafe(32)
        order = _Order(number, account.uri, names, token, profile, replaces)
        self.orders[number] = order
        return Reply(201, self._show(order), {"Location": f"{self.base}/order/{number}"})

    def _check_replaced(self, identifier: str) -> None:
        if identifier in self._replaced:
            raise Refused(409, "alreadyReplaced", "the certificate has a successor")
        if not any(_certificate_id(o.leaf) == identifier for o in self.orders.values() if o.leaf):
            raise Refused(404, "malformed", "no such certificate to replace")

    def _show(self, order: _Order) -> dict[str, Any]:
        body: dict[str, Any] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{self.base}/authz/{order.number}"],
            "finalize": f"{self.base}/finalize/{order.number}",
            "expires": (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%dT00:00:00Z"),
        }
        if order.status == "valid":
            body["certificate"] = f"{self.base}/cert/{order.number}"
        if order.error and order.status == "invalid":
            body["error"] = order.error
        return body

    def _of(self, number: str, account: _Account) -> _Order:
        order = self.orders.get(int(number)) if number.isdigit() else None
        if order is None or order.account != account.uri:
            raise Refused(404, "malformed", f"no order {number}")
        return order

    def _post_order(self, rest: str, account: _Account, payload: Any) -> Reply:
        order = self._of(rest, account)
        if order.status == "processing":
            order.looks += 1
            if order.looks > self.processing_looks:
                order.status = "valid"
        waiting = order.status in ("pending", "processing") and self.poll_retry_after
        headers = {"Retry-After": str(self.poll_retry_after)} if waiting else {}
        return Reply(200, self._show(order), headers)

    def _post_authz(self, rest: str, account: _Account, payload: Any) -> Reply:
        order = self._of(rest, account)
        status = {"pending": "pending", "valid": "valid", "invalid": "invalid"}[order.challenge]
        identifier = {"type": "dns", "value": order.names[0]}
        challenge = {"type": self.offer, "url": f"{self.base}/chall/{rest}", "token": order.token}
        challenge["status"] = order.challenge
        if order.error and order.challenge == "invalid":
            challenge["error"] = order.error
        return Reply(200, {"status": status, "identifier": identifier, "challenges": [challenge]})

    def _post_chall(self, rest: str, account: _Account, payload: Any) -> Reply:
        order = self._of(rest, account)
        if order.challenge != "pending":
            raise Refused(400, "malformed", "the authorization is not pending")
        threading.Thread(target=self._validate, args=(order, account), daemon=True).start()
        return Reply(200, {"type": "http-01", "status": "processing", "token": order.token})

    def _validate(self, order: _Order, account: _Account) -> None:
        thumbprint = base64.urlsafe_b64encode(account.key.thumbprint(hash_function=hashes.SHA256))
        wanted = f"{order.token}.{thumbprint.rstrip(b'=').decode()}"
        url = f"http://127.0.0.1:{self.http_port}/.well-known/acme-challenge/{order.token}"
        try:
            request = urllib.request.Request(url, headers={"Host": order.names[0]})
            with urllib.request.urlopen(request, timeout=5) as answer:
                body = answer.read().decode()
            error = None if body == wanted else ("unauthorized", f"{url} said something else")
        except urllib.error.HTTPError as problem:
            error = ("unauthorized", f"{url} returned {problem.code}")
        except OSError as problem:
            error = ("connection", f"{url}: {problem}")
        with self._lock:
            order.challenge = "invalid" if error else "valid"
            order.status = "invalid" if error else "ready"
            if error:
                order.error = {"type": ERROR + error[0], "detail": error[1], "status": 403}

    def _post_finalize(self, rest: str, account: _Account, payload: Any) -> Reply:
        order = self._of(rest, account)
        if order.status != "ready":
            raise Refused(403, "orderNotReady", f"the order is {order.status}")
        csr = josepy.b64decode(payload["csr"])
        if names_of(csr) != set(order.names):
            raise Refused(400, "badCSR", "the names are not those of the order")
        if x509.load_der_x509_csr(csr).subject.rdns:
            raise Refused(400, "badCSR", "the subject is not empty")
        life = timedelta(hours=160) if order.profile == "shortlived" else None
        order.leaf = self.issuer.issue(csr, life)
        if order.replaces:
            self._replaced.add(order.replaces)
        order.status = "processing" if self.processing_looks else "valid"
        headers = {"Retry-After": self.poll_retry_after} if self.poll_retry_after else {}
        return Reply(200, self._show(order), headers)

    def _post_cert(self, rest: str, account: _Account, payload: Any) -> Reply:
        number, _, alternate = rest.partition("/")
        order = self._of(number, account)
        assert order.leaf
        body = self.issuer.chain(order.leaf, int(alternate or 0)).encode()
        link = f'<{self.base}/cert/{number}/1>;rel="alternate", <{self.base}/directory>;rel="index"'
        return Reply(200, body, {"Link": link}, "application/pem-certificate-chain")

    def _post_revokeCert(self, rest: str, account: _Account, payload: Any) -> Reply:  # noqa: N802
        leaf = x509.load_der_x509_certificate(josepy.b64decode(payload["certificate"]))
        if leaf.serial_number in self.revoked:
            raise Refused(400, "alreadyRevoked", "revoked before")
        if payload.get("reason", 0) not in (0, 1, 3, 4, 5):
            raise Refused(400, "badRevocationReason", "no such reason")
        self.revoked[leaf.serial_number] = payload.get("reason", 0)
        return Reply(200)


def _certificate_id(leaf: x509.Certificate) -> str:
    """RFC 9773 §4.1, spelled once more so that the client's spelling is checked."""
    extension = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 8) // 8, "big")
    parts = (extension.key_identifier or b"", serial)
    return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts)


def certificate_id(chain: str) -> str:
    """The ARI identifier of a chain's leaf, for `windows`."""
    return _certificate_id(x509.load_pem_x509_certificates(chain.encode())[0])


def _handler(server: CaServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.headers.get("User-Agent"):
                reply = Reply(400, b"no User-Agent")
            else:
                reply = server.handle(self.command, self.path, body)
            data = reply.data()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler
