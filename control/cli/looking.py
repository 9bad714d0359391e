"""edgectl explain, preflight and edges: what is so and why."""

from __future__ import annotations

import os
import sys

import click

from control import explanation, inspection, registry
from control.cli.connection import as_json, now, plainly, plane, show
from control.plane import Plane
from control.ports import EdgeReport, PortError
from control.wiring import handshakes, status_listeners


@click.command("explain")
@click.argument("hostname")
@click.option(
    "--edge", "edges", multiple=True, metavar="ADDRESS:PORT", help="Where to try a handshake."
)
@as_json
@plainly
def explain_command(hostname: str, edges: tuple[str, ...], as_json: bool) -> None:
    """What a visitor of HOSTNAME gets and why: from database, Redis, each edge and the wire."""
    connected = plane()
    told = explanation.explain(
        connected,
        hostname,
        handshakes(),
        status_listeners(),
        _addresses(connected, hostname, edges),
        now(),
    )
    width = max(len(where) for where, _ in told.findings)
    lines = [f"A visitor of {hostname} gets {told.verdict}."]
    lines += [f"  {where:<{width}}  {what}" for where, what in told.findings]
    value = {
        "hostname": hostname,
        "served": told.served,
        "verdict": told.verdict,
        "findings": [{"where": where, "what": what} for where, what in told.findings],
    }
    show(value, as_json, "\n".join(lines))


def _addresses(connected: Plane, hostname: str, edges: tuple[str, ...]) -> list[tuple[str, int]]:
    """Where to try: what was named, else EDGE_HTTPS, else what DNS says."""
    given = edges or tuple(
        filter(None, [os.environ.get("EDGE_HTTPS", "").removeprefix("https://")])
    )
    if given:
        parts = [edge.rpartition(":") for edge in given]
        return [(host.strip("[]"), int(port)) for host, _, port in parts if port.isdecimal()]
    try:
        found = connected.resolver.addresses(hostname)
    except PortError:
        return []
    return [(address, 443) for address in (*found.ipv6, *found.ipv4)]


@click.command("preflight")
@click.argument("hostname")
@as_json
@plainly
def preflight_command(hostname: str, as_json: bool) -> None:
    """Would an order succeed: A, AAAA, CNAME, CAA and port 80, each with its fix."""
    connected = plane()
    with connected.database.reading() as session:
        checks = inspection.report(connected, registry.find(session, hostname))
    lines = []
    for check in checks:
        lines.append(f"{check.verdict:<5} {check.check:<7} {check.evidence}")
        lines += [f"      {words}" for words in (check.fix, check.record) if words]
    show([vars(check) for check in checks], as_json, "\n".join(lines))
    if any(check.verdict == "fail" for check in checks):
        sys.exit(2)


@click.command("edges")
@as_json
@plainly
def edges_command(as_json: bool) -> None:
    """Who serves, how far each edge has come, and what it refuses."""
    connected = plane()
    last = connected.store.summary().revision
    reports = connected.store.edges()
    items = [
        {
            "id": report.edge,
            "version": report.version,
            "revision": report.revision,
            "lag": max(0, last - report.revision),
            "hosts": report.hosts,
            "certificates": report.certificates,
            "refused": list(report.refused),
            "refusing": report.refusing,
            "last_sync": report.last_sync.isoformat(),
        }
        for report in reports
    ]
    lines = [
        f"{i['id']:<20} revision {i['revision']} (lag {i['lag']})  {i['hosts']} hosts  "
        f"{i['certificates']} certificates  refuses {_refused(report)}"
        for i, report in zip(items, reports, strict=True)
    ]
    show(items, as_json, "\n".join(lines) or "no edge has sent a heartbeat in the last 30 s")
    if not reports:
        sys.exit(2)


def _refused(report: EdgeReport) -> str:
    """The names, and how many there are beside them."""
    more = report.refusing - len(report.refused)
    names = " ".join(report.refused) or "nothing"
    return f"{names} and {more} more" if more else names
