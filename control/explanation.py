"""What a visitor of a hostname gets and why, in words: from database, Redis, each edge and the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import select

from control.models import VirtualHost
from control.plane import Plane
from control.ports import EdgeReport, StoreUnavailable
from control.publishing import known_epoch


class Wire(Protocol):
    """A handshake, as a visitor makes it."""

    def certificate(self, hostname: str, address: str, port: int) -> str:
        """Hex SHA-256 of the leaf that is served; ConnectionError in words."""


class Status(Protocol):
    """An edge's status listener."""

    def report(self, url: str, hostname: str) -> Mapping[str, Any]:
        """What that edge knows of a hostname (docs/edge.md); ConnectionError in words."""


@dataclass
class Explanation:
    """`verdict` is the answer, `findings` say how it was found: (where, what) in order."""

    hostname: str
    verdict: str = ""
    served: bool = False
    findings: list[tuple[str, str]] = field(default_factory=list)


def explain(
    plane: Plane,
    hostname: str,
    wire: Wire,
    status: Status,
    addresses: Sequence[tuple[str, int]],
    now: datetime,
) -> Explanation:
    """Look everywhere and conclude; raises nothing for what it finds."""
    told = Explanation(hostname)
    with plane.database.reading() as session:
        host = session.scalar(select(VirtualHost).where(VirtualHost.hostname == hostname))
        epoch = known_epoch(session)
    told.findings.append(("database", _database(host)))
    stored, edges = _redis(plane, hostname, told)
    behind = _edges(host, edges, epoch, told)
    for url in plane.settings.edge_status:
        told.findings.append((url.partition("://")[2], _held(url, hostname, status, now)))
    seen = _wire(hostname, wire, addresses, told)
    error = host.explained(plane.settings.edge_public_addresses) if host else None
    told.verdict, told.served = _verdict(host, error, stored, edges, behind, seen, now)
    return told


def _database(host: VirtualHost | None) -> str:
    if host is None:
        return "there is no such virtual host and there was none"
    if host.deleted_at is not None:
        return f"deleted on {host.deleted_at:%Y-%m-%d %H:%M} UTC"
    words = [host.kind, host.status, "enabled" if host.enabled else "disabled"]
    words.append(f"revision {host.revision}")
    certificate = host.certificate
    if certificate is None:
        words.append("no certificate")
    else:
        words.append(
            f"certificate {certificate.sha256[:12]} of {certificate.issuer} "
            f"until {certificate.not_after:%Y-%m-%d}"
        )
    return ", ".join(words)


def _redis(
    plane: Plane, hostname: str, told: Explanation
) -> tuple[dict[str, str] | None, Sequence[EdgeReport]]:
    try:
        stored, edges = dict(plane.store.show(hostname)), plane.store.edges()
    except StoreUnavailable as problem:
        told.findings.append(("redis", f"does not answer: {problem.detail}"))
        return None, ()
    if stored:
        digest = stored.get("cert", "")[:12] or "none"
        words = f"{stored.get('state')}, revision {stored.get('rev')}, certificate {digest}"
    else:
        words = "knows nothing of it"
    told.findings.append(("redis", words))
    return stored, edges


def _edges(
    host: VirtualHost | None, edges: Sequence[EdgeReport], epoch: str, told: Explanation
) -> list[str]:
    behind = []
    if not edges:
        told.findings.append(("edges", "none has sent a heartbeat in the last 30 s"))
    for edge in edges:
        late = edge.epoch != epoch or (host is not None and edge.revision < host.revision)
        if late:
            behind.append(edge.edge)
        verdict = edge.takes(host.hostname) if host is not None else True
        words = f"applied revision {edge.revision}"
        words += ", behind" if late else ", up to date"
        words += ", refused its certificate and keeps the one before" if verdict is False else ""
        words += f", refuses {edge.refusing} hosts, this one perhaps" if verdict is None else ""
        told.findings.append((edge.edge, words))
    return behind


def _held(url: str, hostname: str, status: Status, now: datetime) -> str:
    """What one edge has of the hostname: state, revision, certificate and where, and whether it refuses a publish."""
    try:
        report = status.report(url, hostname)
    except ConnectionError as problem:
        return str(problem)
    if report["state"] == "unknown":
        words = ["does not know it"]
        words += [] if report.get("index_complete") else ["has not read its whole index yet"]
    else:
        words = [f"has it {report['state']}", f"revision {report.get('rev')}"]
        words += _certificate_held(report, now)
    if report.get("refused"):
        words.append("refuses what is published now and keeps what it had (its error log says why)")
    return ", ".join(words)


def _certificate_held(report: Mapping[str, Any], now: datetime) -> list[str]:
    digest, expires = report.get("sha256"), report.get("not_after")
    if not digest:
        return ["holds no certificate"]
    words = [f"certificate {digest[:12]}"]
    if expires:
        until = datetime.fromtimestamp(expires, UTC)
        words.append(f"{'EXPIRED' if until <= now else 'until'} {until:%Y-%m-%d %H:%M} UTC")
    cached = report.get("cached", {})
    where = {"shared_memory": "in shared memory", "this_worker": "in the worker that was asked"}
    places = [name for key, name in where.items() if cached.get(key)]
    return [*words, " and ".join(places) or "to be read from Redis when it is needed"]


def _wire(
    hostname: str, wire: Wire, addresses: Sequence[tuple[str, int]], told: Explanation
) -> list[str]:
    seen = []
    for address, port in addresses:
        try:
            digest = wire.certificate(hostname, address, port)
        except ConnectionError as problem:
            told.findings.append((f"{address}:{port}", str(problem)))
            continue
        seen.append(digest)
        told.findings.append((f"{address}:{port}", f"serves certificate {digest[:12]}"))
    return seen


def _verdict(
    host: VirtualHost | None,
    error: dict[str, Any] | None,
    stored: dict[str, str] | None,
    edges: Sequence[EdgeReport],
    behind: list[str],
    seen: list[str],
    now: datetime,
) -> tuple[str, bool]:
    """The first thing that is wrong, in the order in which a visitor meets it."""
    if host is None or host.deleted_at is not None:
        gone = "refused in the handshake: there is no such virtual host"
        return (gone + (", but an edge still serves it" if seen else ""), bool(seen))
    if not host.enabled:
        return "refused in the handshake: it is disabled (edgectl host enable)", False
    why = f"{error['reason']} — {error['detail']}. {error['hint']}" if error else ""
    if error is not None and host.status != "ready":
        return f"not served: {why}", False
    if host.certificate is None:
        return f"not served yet: {host.status} at step {host.step}", False
    if host.certificate.not_after <= now:
        return f"an expired certificate: {why or 'its renewal has not been tried yet'}", False
    if stored is not None and stored.get("cert") != host.certificate.sha256:
        return "perhaps an older certificate: Redis differs, run `edgectl reconcile`", False
    if not edges:
        return "perhaps nothing: no edge is alive", bool(seen)
    if behind:
        return f"perhaps an older state: {', '.join(behind)} is behind", bool(seen)
    if seen and host.certificate.sha256 not in seen:
        return "another certificate than it should: the address is not one of our edges", False
    until = host.certificate.not_after
    words = f"its own certificate, valid until {until:%Y-%m-%d %H:%M} UTC"
    return words + (f"; it could not be renewed: {why}" if error else ""), True
