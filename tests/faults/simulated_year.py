"""A year of a hundred thousand hosts on a fake clock, by the control plane's own rules.

`python -m tests.faults.simulated_year [hosts [ari|none]]` prints what happened; a short form runs with the tests.
The rules decide (`control.renewal`, `control.limits`); a referee with buckets of its own counts what
the CA would have refused.
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from control import limits, renewal
from control.ports import RenewalInfo
from control.urgency import ends_soon, urgency

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
ACCOUNT = "https://acme-v02.api.letsencrypt.org/acme/acct/1"
START = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIVES = (90 * DAY, 45 * DAY, timedelta(hours=160))
YEAR = 365 * DAY
OUTAGE = (START + 150 * DAY, START + 164 * DAY)
PER_SECOND = 10  # orders that the workers start in one second, in the long run


@dataclass
class Host:
    """One hostname with the certificate that it has."""

    number: int
    life: timedelta
    not_before: datetime
    failures: int = 0
    due: datetime = START
    info: RenewalInfo | None = None

    @property
    def name(self) -> str:
        """Each in a registered domain of its own."""
        return f"mail.t{self.number}.example"

    @property
    def not_after(self) -> datetime:
        """When the certificate ends."""
        return self.not_before + self.life

    def schedule(self, ari: bool) -> None:
        """Read the CA's window (2/3 of the life ± 1 %, half of a short one) and say when it is due."""
        share = 1 / 2 if self.life < 10 * DAY else 2 / 3
        middle, half = self.not_before + self.life * share, self.life / 100
        self.info = RenewalInfo(middle - half, middle + half, middle) if ari else None
        key = f"{self.name} {self.not_before.isoformat()}"
        self.due = renewal.due_at(self.not_before, self.not_after, key, info=self.info)


@dataclass
class Referee:
    """The CA's own buckets, full size, spelled independently of `control.limits`."""

    levels: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, name: str, subject: str, amount: int, period: timedelta, now: datetime) -> None:
        """Count one order against one bucket."""
        tokens, seen = self.levels.get(name + subject, (float(amount), now))
        tokens = min(float(amount), tokens + (now - seen) / period * amount) - 1
        if tokens < -1e-6:
            self.refused[name] += 1
        self.levels[name + subject] = (tokens, now)

    def order(self, host: Host, now: datetime) -> None:
        """Judge an order as Let's Encrypt documents it; in its window it is exempt from everything."""
        if host.info and host.info.start <= now <= host.info.end:
            return
        self.take("per set", host.name, 5, 7 * DAY, now)


@dataclass
class Report:
    """What a year came to."""

    hosts: int
    orders: Counter[int] = field(default_factory=Counter)
    tries_while_down: int = 0
    held_back: int = 0
    expired: int = 0
    expired_needlessly: int = 0
    busiest_minute: int = 0
    served_again: timedelta = timedelta(0)
    referee: Referee = field(default_factory=Referee)

    def histogram(self) -> str:
        """Orders by day, a line a fortnight with its quietest and busiest day."""
        lines = []
        peak = max(self.orders.values())
        for first in range(0, 365, 14):
            days = [self.orders[day] for day in range(first, min(first + 14, 365))]
            bar = "#" * round(40 * sum(days) / len(days) / peak)
            lines.append(f"day {first:3d}  {min(days):6d} … {max(days):6d} a day  {bar}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return (
            f"{self.hosts} hosts, {sum(self.orders.values())} orders, busiest day "
            f"{max(self.orders.values())}, busiest minute {self.busiest_minute}\n"
            f"tries while the CA was down {self.tries_while_down}, held back by our own buckets "
            f"{self.held_back}, refused by the CA {sum(self.referee.refused.values())}\n"
            f"expired {self.expired} (6-day ones within the outage), of these needlessly "
            f"{self.expired_needlessly}; all served again {self.served_again} after the outage\n"
            f"{self.histogram()}"
        )


def population(count: int, dice: random.Random) -> list[Host]:
    """A third of each life, issued evenly over the past; a tenth all on the same day."""
    hosts = []
    for number in range(count):
        life = LIVES[number % 3]
        age = life * (0.3 if number % 10 == 0 else dice.random() * 0.45)
        hosts.append(Host(number, life, START - age))
    return hosts


def down(now: datetime) -> bool:
    """Whether the CA is away."""
    return OUTAGE[0] <= now < OUTAGE[1]


def simulate(count: int, *, ari: bool, seed: int) -> Report:
    """Run the year; the same seed gives the same year."""
    report = Report(count)
    hosts = population(count, random.Random(seed))
    for host in hosts:
        host.schedule(ari)
    levels: dict[str, datetime] = {}
    minutes: Counter[int] = Counter()
    turns = Turns(hosts)
    for now, host in turns:
        if down(now):
            report.tries_while_down += 1
            _postpone(host, now)
        elif (until := _room(host, levels, now)) > now:
            report.held_back += 1
            host.due = until
        else:
            _count(report, host, now)
            minutes[int((now - START) / timedelta(minutes=1))] += 1
            host.not_before, host.failures = now, 0
            host.schedule(ari)
            turns.the_ca_answers(now)
        turns.add(host)
    report.busiest_minute = max(minutes.values())
    return report


class Turns:
    """Whose turn it is and when, as the workers take them: what is due by urgency, so many a second."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.waiting = [(host.due, host.number) for host in hosts]
        heapq.heapify(self.waiting)
        self.ready: list[tuple[int, datetime, int]] = []
        self.failed: set[int] = set()

    def add(self, host: Host) -> None:
        """Let the host wait until it is due; remember those that wait for the CA."""
        heapq.heappush(self.waiting, (host.due, host.number))
        if host.failures:
            self.failed.add(host.number)

    def the_ca_answers(self, now: datetime) -> None:
        """Make everybody due who waits for the CA."""
        for number in sorted(self.failed):
            if self.hosts[number].failures and self.hosts[number].due > now:
                self.hosts[number].due = now
                heapq.heappush(self.waiting, (now, number))
        self.failed.clear()

    def __iter__(self) -> Iterator[tuple[datetime, Host]]:
        """Until the year is over."""
        now, pause = START, timedelta(seconds=1) / PER_SECOND
        while now < START + YEAR:
            if not self.ready and self.waiting[0][0] > now:
                now = self.waiting[0][0]
            self._make_ready(now)
            if self.ready:
                yield now, self.hosts[heapq.heappop(self.ready)[2]]
                now += pause

    def _make_ready(self, now: datetime) -> None:
        while self.waiting and self.waiting[0][0] <= now:
            due, number = heapq.heappop(self.waiting)
            host = self.hosts[number]
            if host.due != due:
                continue  # it has become due at another time since
            turn = urgency(due, not_before=host.not_before, not_after=host.not_after)
            heapq.heappush(self.ready, (turn, due, number))


def _room(host: Host, levels: dict[str, datetime], now: datetime) -> datetime:
    """When our own buckets have room; `now` after taking it."""
    inside = host.info and host.info.start <= now <= host.info.end
    kind = limits.REPLACEMENT if inside else limits.SAME_SET
    charges = limits.order_charges(LETS_ENCRYPT, ACCOUNT, host.name, kind)
    share = limits.BULK_SHARE
    if ends_soon(now, host.not_before, host.not_after):
        share = limits.SHARE
    until = limits.earliest(charges, levels, now, share=share)
    if until <= now:
        levels.update(limits.spend(charges, levels, now))
    return until


def _postpone(host: Host, now: datetime) -> None:
    host.failures += 1
    host.due = renewal.next_attempt(
        host.failures,
        "ca_unavailable",
        host.name,
        now,
        not_after=host.not_after,
        away_since=OUTAGE[0],
    )


def _count(report: Report, host: Host, now: datetime) -> None:
    report.orders[(now - START).days] += 1
    report.referee.order(host, now)
    if host.not_after < now:
        report.expired += 1
        report.served_again = max(report.served_again, now - OUTAGE[1])
        due = Host(host.number, host.life, host.not_before)
        due.schedule(host.info is not None)
        if not (down(due.due) and down(host.not_after)):
            report.expired_needlessly += 1


def main() -> None:
    """Print a year with ARI and one without."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    variants = (True, False) if len(sys.argv) < 3 else (sys.argv[2] == "ari",)
    for ari in variants:
        started = time.monotonic()
        report = simulate(count, ari=ari, seed=1)
        print(f"=== {'with' if ari else 'without'} ARI, seed 1, {time.monotonic() - started:.0f} s")
        print(report, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
