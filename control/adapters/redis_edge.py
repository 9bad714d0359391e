"""The edges' store on Redis: the only Python that spells a Redis key (docs/redis.md)."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from control.ports import (
    Challenge,
    EdgeCertificate,
    EdgeHost,
    EdgeReport,
    Heard,
    PublishRefused,
    StoreSummary,
    StoreUnavailable,
)

EPOCH, COMPLETE, REVISION, FLOOR = "vh:epoch", "vh:complete", "vh:rev", "vh:floor"
HOSTS, EXPIRY, CHANGED, DUE = "vh:hosts", "vh:expiry", "vh:changed", "vh:due"
CHALLENGE_SECONDS = 3600
DISCOVER_SECONDS = 2.0
BATCH = 500

PUBLISH = (Path(__file__).parent / "publish.lua").read_text(encoding="ascii")
PURGE = (Path(__file__).parent / "purge.lua").read_text(encoding="ascii")


def host_key(hostname: str) -> str:
    """The hash of one host; `hostname` is canonical, so it holds no colon, slash or space."""
    return f"vh:host:{hostname}"


def certificate_key(hostname: str) -> str:
    """The hash of one host's certificate."""
    return f"vh:cert:{hostname}"


def challenge_key(hostname: str, token: str) -> str:
    """One key authorization; tokens are base64url (RFC 8555 §8.3)."""
    return f"vh:challenge:{hostname}:{token}"


class RedisEdgeStore:
    """EdgeStore over one Redis; `client` decodes answers to text. Safe in many threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._publish = client.register_script(PUBLISH)
        self._purge = client.register_script(PURGE)
        self._lock = threading.Lock()
        self._known: tuple[str, ...] = ()
        self._discovered = float("-inf")
        self._listener: Any = None

    def publish(
        self,
        host: EdgeHost,
        *,
        epoch: str,
        at_least: int,
        challenges: Sequence[Challenge] = (),
        forget: Sequence[str] = (),
    ) -> int:
        """Write everything of one host in one script."""
        keys, arguments = _call(host, epoch, at_least, challenges, forget, force=False)
        with _mapped():
            answer = self._publish(keys=keys, args=arguments)
        return _revision(host.hostname, answer)

    def republish(self, hosts: Sequence[EdgeHost], *, epoch: str, at_least: int) -> list[int]:
        """Write many hosts in pipelines of the same script."""
        revisions: list[int] = []
        for start in range(0, len(hosts), BATCH):
            batch = hosts[start : start + BATCH]
            with _mapped():
                pipeline: Any = self._client.pipeline(transaction=False)
                for host in batch:
                    keys, arguments = _call(host, epoch, at_least, (), (), force=True)
                    self._publish(keys=keys, args=arguments, client=pipeline)
                answers = pipeline.execute()
            revisions += [_revision(h.hostname, a) for h, a in zip(batch, answers, strict=True)]
        return revisions

    def begin(self, epoch: str) -> None:
        """Completeness goes before the epoch changes."""
        with _mapped():
            pipeline: Any = self._client.pipeline()
            pipeline.delete(COMPLETE).set(EPOCH, epoch).execute()

    def complete(self, epoch: str, hosts: int) -> None:
        """Written last in a rebuild, then edges are nudged to look at the whole."""
        with _mapped():
            pipeline: Any = self._client.pipeline()
            pipeline.hset(COMPLETE, mapping={"epoch": epoch, "hosts": hosts})
            pipeline.publish(CHANGED, "complete").execute()

    def index(self) -> dict[str, int]:
        """The zset whole: 0.36 s for 100,000 hosts. A score that can be no revision is -1."""
        with _mapped():
            found: Any = self._client.zrange(HOSTS, 0, -1, withscores=True)
        return {name: int(score) if score.is_integer() else -1 for name, score in found}

    def changes(self, hostnames: Sequence[str]) -> list[int | None]:
        """One HMGET and one EXISTS a host, in one pipeline: a certificate that is gone counts as missing."""
        with _mapped():
            pipeline: Any = self._client.pipeline(transaction=False)
            for hostname in hostnames:
                pipeline.hmget(host_key(hostname), ["change", "cert"])
                pipeline.hget(certificate_key(hostname), "sha256")
            answers = pipeline.execute()
        found: list[int | None] = []
        for (change, named), held in zip(answers[::2], answers[1::2], strict=True):
            whole = change is not None and (named or None) == held
            found.append(int(change) if whole else None)
        return found

    def show(self, hostname: str) -> Mapping[str, str]:
        """The hash of one host."""
        with _mapped():
            found: Any = self._client.hgetall(host_key(hostname))
        return dict(found)

    def purge(self, tombstones: Mapping[str, int]) -> None:
        """Only what still is the tombstone of that revision goes."""
        with _mapped():
            pipeline: Any = self._client.pipeline(transaction=False)
            for hostname, revision in tombstones.items():
                keys = [HOSTS, host_key(hostname), FLOOR]
                self._purge(keys=keys, args=[hostname, revision], client=pipeline)
            pipeline.execute()

    def remove(self, hostnames: Sequence[str]) -> None:
        """Take foreign hosts out of every key; edges learn of it from the next complete epoch."""
        with _mapped():
            for start in range(0, len(hostnames), BATCH):
                batch = hostnames[start : start + BATCH]
                pipeline: Any = self._client.pipeline()
                pipeline.zrem(HOSTS, *batch).zrem(EXPIRY, *batch)
                pipeline.delete(*map(host_key, batch)).delete(*map(certificate_key, batch))
                pipeline.execute()

    def drop_challenge(self, hostname: str, token: str) -> None:
        """Forget one key authorization."""
        with _mapped():
            self._client.delete(challenge_key(hostname, token))

    def edges(self) -> Sequence[EdgeReport]:
        """HGETALL of the known edges; who they are is looked up anew every 2 s, or while there is none."""
        with _mapped():
            keys = self._edge_keys()
            pipeline: Any = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            answers = pipeline.execute() if keys else []
        found = zip(keys, answers, strict=True)
        return [_report(key, fields) for key, fields in found if fields]

    def summary(self) -> StoreSummary:
        """Four commands in one round trip."""
        with _mapped():
            pipeline: Any = self._client.pipeline()
            pipeline.get(EPOCH).hget(COMPLETE, "epoch").get(REVISION).zcard(HOSTS)
            epoch, complete, revision, hosts = pipeline.execute()
        return StoreSummary(epoch, complete, _whole(revision), hosts)

    def nudge(self) -> None:
        """A message on our own channel; a lost one costs at most the workers' idle second."""
        try:
            self._client.publish(DUE, "1")
        except redis.RedisError:
            return

    def listen(self, seconds: float) -> Heard:
        """The library connects anew by itself: that the server confirms our subscription again tells of it."""
        try:
            if self._listener is None:
                self._listener = _untyped(self._client).pubsub()
                self._listener.subscribe(DUE)
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                message = self._listener.get_message(timeout=left)
                if message is not None:
                    return Heard.CONNECTED if message["type"] == "subscribe" else Heard.NUDGE
        except (redis.RedisError, OSError):
            self._listener = None
            time.sleep(min(seconds, 0.5))
        return Heard.NOTHING

    def _edge_keys(self) -> tuple[str, ...]:
        now = time.monotonic()
        with self._lock:
            fresh = self._known and now - self._discovered < DISCOVER_SECONDS
            if not fresh:
                found = self._client.scan_iter(match="vh:edge:*", count=2000, _type="hash")
                self._known, self._discovered = tuple(sorted(set(found))), now
            return self._known


def _call(
    host: EdgeHost,
    epoch: str,
    at_least: int,
    challenges: Sequence[Challenge],
    forget: Sequence[str],
    *,
    force: bool,
) -> tuple[list[str], list[str | int]]:
    """KEYS and ARGV of the publish script, in the order that `publish.lua` names."""
    name = host.hostname
    keys = [EPOCH, REVISION, HOSTS, EXPIRY, CHANGED, host_key(name), certificate_key(name)]
    keys += [challenge_key(name, challenge.token) for challenge in challenges]
    keys += [challenge_key(name, token) for token in forget]
    answers = [challenge.key_authorization for challenge in challenges]
    certificate = _certificate_fields(host.certificate)
    expires = int(host.certificate.not_after.timestamp()) if host.certificate else 0
    arguments: list[str | int] = [
        epoch, at_least, name, host.generation, host.change, int(force),
        json.dumps(_host_fields(host)), json.dumps(certificate), expires,
        CHALLENGE_SECONDS, json.dumps(answers),
    ]  # fmt: skip
    return keys, arguments


def _host_fields(host: EdgeHost) -> list[str]:
    """Names and values of `vh:host:*`, flat; the script adds `rev`."""
    fields = {
        "state": host.state,
        "kind": host.kind,
        "domains": " ".join(host.domains),
        "cert": host.certificate.sha256 if host.certificate else "",
        "theme": json.dumps(host.theme, separators=(",", ":"), sort_keys=True),
        "hsts": "" if host.hsts_max_age is None else str(host.hsts_max_age),
        "generation": str(host.generation),
        "change": str(host.change),
        "updated_at": f"{host.updated_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    return [part for pair in fields.items() for part in pair]


def _certificate_fields(certificate: EdgeCertificate | None) -> list[str]:
    """Names and values of `vh:cert:*`, flat; empty when the host has none."""
    if certificate is None:
        return []
    fields = {
        "chain": certificate.chain,
        "key": certificate.sealed_key,
        "spki": certificate.spki,
        "sha256": certificate.sha256,
        "not_before": str(int(certificate.not_before.timestamp())),
        "not_after": str(int(certificate.not_after.timestamp())),
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "sans": " ".join(certificate.sans),
    }
    return [part for pair in fields.items() for part in pair]


def _revision(hostname: str, answer: Sequence[Any]) -> int:
    verdict, value = answer[0], answer[1]
    if verdict != "ok":
        raise PublishRefused(str(verdict), f"{hostname}: the store has {verdict} {value}")
    return int(value)


def _report(key: str, fields: Mapping[str, str]) -> EdgeReport:
    """A heartbeat, read leniently: an edge of another version must not stop the control plane."""
    refused = _words(fields.get("refused"))
    return EdgeReport(
        edge=key.removeprefix("vh:edge:"),
        epoch=fields.get("epoch", ""),
        revision=_whole(fields.get("rev")),
        hosts=_whole(fields.get("hosts")),
        certificates=_whole(fields.get("certificates")),
        refused=refused,
        kids=_words(fields.get("kids")),
        last_sync=datetime.fromtimestamp(_seconds(fields.get("last_sync")), UTC),
        version=fields.get("version", ""),
        refusing=max(_whole(fields.get("refusing")), len(refused)),
    )


def _whole(text: str | None) -> int:
    return int(_seconds(text))


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _words(text: str | None) -> tuple[str, ...]:
    """Names separated by spaces or commas; a bare 0 says that there are none."""
    words = tuple((text or "").replace(",", " ").split())
    return () if words == ("0",) else words


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn the library's exceptions into the port's."""
    try:
        yield
    except (redis.RedisError, OSError) as problem:
        raise StoreUnavailable("redis_unavailable", str(problem)) from problem


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://`, `unix://` or `redis+sentinel://h1:p,h2:p/service/db`.

    Nothing is sent yet. Reads and writes time out after 5 s, connecting after 2 s.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 15,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 2),
    }
    if url.startswith("redis+sentinel://"):
        return _sentinel(url, options)
    return redis.Redis.from_url(url, max_connections=500, **options)


def _sentinel(url: str, options: dict[str, Any]) -> redis.Redis:
    user_and_hosts = url.removeprefix("redis+sentinel://").split("/", 1)[0]
    credentials, _, addresses = user_and_hosts.rpartition("@")
    user, _, password = credentials.partition(":")
    path = urlsplit(url).path.strip("/").split("/")
    service, database = ([*path, "0"])[:2] if path[0] else ("mymaster", "0")
    sentinels = [_address(address) for address in addresses.split(",")]
    # Each sentinel is asked once: the library's own retries would make a call of an outage take 24 s.
    once = {"socket_timeout": 1, "decode_responses": True, "retry": Retry(NoBackoff(), 0)}
    sentinel = _untyped(Sentinel)(sentinels, sentinel_kwargs=once)
    client: redis.Redis = sentinel.master_for(
        service,
        db=int(database),
        username=unquote(user) or None,
        password=unquote(password) or None,
        **options,
    )
    return client


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (text, 26379)


def _untyped(thing: Any) -> Any:
    """The library leaves these without types."""
    return thing
