"""The numbers of docs/metrics.md as Prometheus text; counters are in the database, shared by all workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control import renewal
from control.models import Certificate, Counter, VirtualHost, Webhook
from control.plane import Plane
from control.ports import StoreUnavailable

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SECONDS = "control_issuance_seconds"
ISSUANCES = "control_issuances_total"


def count(session: Session, name: str, label: str = "", amount: float = 1) -> None:
    """Add to a counter, in this transaction."""
    _add(session, [(name, label, amount)])


def count_issuance(session: Session, seconds: float) -> None:
    """One certificate, `seconds` after its order was begun."""
    bucket = next((str(edge) for edge in BUCKETS if seconds <= edge), "+Inf")
    _add(
        session,
        [
            (ISSUANCES, "success", 1),
            (f"{SECONDS}_bucket", bucket, 1),
            (f"{SECONDS}_sum", "", seconds),
        ],
    )


def _add(session: Session, amounts: Sequence[tuple[str, str, float]]) -> None:
    """In one order, since two workers may add to the same counters at the same moment."""
    rows = [{"name": name, "label": label, "value": value} for name, label, value in amounts]
    session.execute(_ADD[session.get_bind().dialect.name], sorted(rows, key=_which))


def _which(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["name"], row["label"]


def _adding(dialect: Any) -> Insert:
    """The statement that adds to a counter or begins it; built once for each kind of database."""
    statement = dialect.insert(Counter.__table__)
    added: Insert = statement.on_conflict_do_update(
        index_elements=["name", "label"],
        set_={"value": Counter.__table__.c.value + statement.excluded.value},
    )
    return added


_ADD = {"postgresql": _adding(postgresql), "sqlite": _adding(sqlite)}


def text(plane: Plane) -> str:
    """Everything, as Prometheus reads it."""
    with plane.database.reading() as session:
        lines = [*_hosts(plane, session), *_issuances(session)]
    lines += _edges(plane)
    return "\n".join(lines) + "\n"


def _metric(
    name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]
) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value:.15g}"


def _hosts(plane: Plane, session: Session) -> Iterator[str]:
    now = plane.clock()
    live = VirtualHost.deleted_at.is_(None)
    statuses = dict(
        session.execute(
            select(VirtualHost.status, func.count()).where(live).group_by(VirtualHost.status)
        ).all()
    )
    by_status = [(f'{{status="{s}"}}', statuses.get(s, 0)) for s in ("pending", "ready", "failed")]
    yield from _metric("control_virtual_hosts", "gauge", "Virtual hosts by status.", by_status)
    first = session.scalar(
        select(func.min(Certificate.not_after))
        .join(VirtualHost, VirtualHost.certificate_id == Certificate.id)
        .where(_comes_here(now))
    )
    if first is not None:
        yield from _metric(
            "control_certificate_not_after_seconds", "gauge",
            "When the first certificate ends, in unix seconds; those of hostnames that have moved away are left out.",
            [("", first.timestamp())],
        )  # fmt: skip
    due = session.scalar(
        select(func.count())
        .select_from(VirtualHost)
        .join(Certificate, VirtualHost.certificate_id == Certificate.id)
        .where(live, Certificate.renew_at <= now)
    )
    yield from _metric(
        "control_due_renewals", "gauge", "Certificates due for renewal.", [("", due or 0)]
    )
    oldest = session.scalar(
        select(func.min(VirtualHost.unpublished_since)).where(VirtualHost.purged_at.is_(None))
    )
    lag = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    yield from _metric(
        "control_publish_lag_seconds", "gauge",
        "Age of the oldest change that edges were not given yet.", [("", lag)],
    )  # fmt: skip
    failing = session.scalar(select(func.count()).where(Webhook.error.is_not(None)))
    yield from _metric(
        "control_webhooks_failing", "gauge", "Webhooks that do not take what they are told.",
        [("", failing or 0)],
    )  # fmt: skip


def _comes_here(now: datetime) -> ColumnElement[bool]:
    """Whose DNS does not point elsewhere for so long that its certificate is left to end."""
    return or_(
        VirtualHost.moved_since.is_(None), VirtualHost.moved_since > now - renewal.MOVED_AFTER
    )


def _issuances(session: Session) -> Iterator[str]:
    rows = {(row.name, row.label): row.value for row in session.scalars(select(Counter))}
    results = sorted(label for name, label in rows if name == ISSUANCES) or ["success"]
    samples = [(f'{{result="{r}"}}', rows.get((ISSUANCES, r), 0.0)) for r in results]
    yield from _metric(ISSUANCES, "counter", "Orders that ended, by result.", samples)
    total, buckets = 0.0, []
    for edge in (*(str(edge) for edge in BUCKETS), "+Inf"):
        total += rows.get((f"{SECONDS}_bucket", edge), 0.0)
        buckets.append((f'_bucket{{le="{edge}"}}', total))
    buckets.append(("_sum", rows.get((f"{SECONDS}_sum", ""), 0.0)))
    buckets.append(("_count", total))
    yield from _metric(SECONDS, "histogram", "From order to certificate.", buckets)


def _edges(plane: Plane) -> Iterator[str]:
    try:
        edges = plane.store.edges()
    except StoreUnavailable:
        return
    yield from _metric("control_edges", "gauge", "Live edges.", [("", len(edges))])
