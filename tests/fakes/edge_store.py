"""FakeEdgeStore: the port EdgeStore in memory, with edges that apply at once; it remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from control.ports import (
    Challenge,
    EdgeHost,
    EdgeReport,
    Heard,
    PublishRefused,
    StoreSummary,
    StoreUnavailable,
)


@dataclass
class FakeEdgeStore:
    """`live` edges by name; `frozen` ones do not apply, nor what is `refused`, nor `unnamed` more. `away` fails all."""

    live: set[str] = field(default_factory=lambda: {"edge-1"})
    frozen: dict[str, int] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    unnamed: int = 0
    away: bool = False
    hosts: dict[str, tuple[int, EdgeHost]] = field(default_factory=dict)
    challenges: dict[tuple[str, str], str] = field(default_factory=dict)
    published: list[tuple[str, str]] = field(default_factory=list)
    nudges: int = 0
    floor: int = 0

    def __post_init__(self) -> None:
        self._epoch: str | None = None
        self._complete: str | None = None
        self._revision = 0
        self._lock = threading.RLock()

    # What tests do to it.

    def empty(self) -> None:
        """Lose everything, as a Redis without persistence does."""
        self.hosts, self.challenges = {}, {}
        self._epoch = self._complete = None
        self._revision = 0

    def rewind(self, revisions: int) -> None:
        """Go back, as a Redis restored from an older snapshot does."""
        self._revision -= revisions

    def look(self, hostname: str, token: str) -> str | None:
        """What port 80 of every edge answers, once they have applied the host."""
        return self.challenges.get((hostname, token)) if hostname in self.hosts else None

    def state(self, hostname: str) -> str | None:
        """The state edges were given; None when they know nothing."""
        return self.hosts[hostname][1].state if hostname in self.hosts else None

    # The port.

    def publish(
        self,
        host: EdgeHost,
        *,
        epoch: str,
        at_least: int,
        challenges: Sequence[Challenge] = (),
        forget: Sequence[str] = (),
    ) -> int:
        """See the port."""
        with self._asked():
            if epoch != self._epoch:
                raise PublishRefused("epoch", f"{host.hostname}: the store has {self._epoch}")
            stored = self.hosts.get(host.hostname)
            if stored and stored[1].generation > host.generation:
                raise PublishRefused("generation", host.hostname)
            if stored and stored[1].change > host.change:
                raise PublishRefused("lease", host.hostname)
            for challenge in challenges:
                key = (host.hostname, challenge.token)
                self.challenges[key] = challenge.key_authorization
            for token in forget:
                self.challenges.pop((host.hostname, token), None)
            return self._write(host, at_least)

    def republish(self, hosts: Sequence[EdgeHost], *, epoch: str, at_least: int) -> list[int]:
        """See the port."""
        with self._asked():
            if epoch != self._epoch:
                raise PublishRefused("epoch", f"the store has {self._epoch}")
            return [self._write(host, at_least) for host in hosts]

    def _write(self, host: EdgeHost, at_least: int) -> int:
        self._revision = max(self._revision, at_least) + 1
        self.hosts[host.hostname] = (self._revision, host)
        self.published.append((host.hostname, host.state))
        return self._revision

    def begin(self, epoch: str) -> None:
        """See the port."""
        with self._asked():
            self._epoch, self._complete = epoch, None

    def complete(self, epoch: str, hosts: int) -> None:
        """See the port."""
        with self._asked():
            self._complete = epoch

    def index(self) -> dict[str, int]:
        """See the port."""
        with self._asked():
            return {name: revision for name, (revision, _) in self.hosts.items()}

    def changes(self, hostnames: Sequence[str]) -> list[int | None]:
        """See the port."""
        with self._asked():
            return [self.hosts[n][1].change if n in self.hosts else None for n in hostnames]

    def show(self, hostname: str) -> Mapping[str, str]:
        """See the port."""
        with self._asked():
            if hostname not in self.hosts:
                return {}
            revision, host = self.hosts[hostname]
            digest = host.certificate.sha256 if host.certificate else ""
            return {"rev": str(revision), "state": host.state, "cert": digest}

    def purge(self, tombstones: Mapping[str, int]) -> None:
        """See the port."""
        with self._asked():
            for hostname, revision in tombstones.items():
                stored = self.hosts.get(hostname)
                if stored and stored[0] == revision and stored[1].state == "deleted":
                    del self.hosts[hostname]
                    self.floor = max(self.floor, revision)

    def remove(self, hostnames: Sequence[str]) -> None:
        """See the port."""
        with self._asked():
            for hostname in hostnames:
                self.hosts.pop(hostname, None)

    def drop_challenge(self, hostname: str, token: str) -> None:
        """See the port."""
        with self._asked():
            self.challenges.pop((hostname, token), None)

    def edges(self) -> Sequence[EdgeReport]:
        """See the port."""
        with self._asked():
            report = EdgeReport(
                "", self._epoch or "", self._revision, len(self.hosts), 0, self.refused, (),
                datetime.now(UTC), "fake", len(self.refused) + self.unnamed,
            )  # fmt: skip
            return [
                replace(report, edge=name, revision=self.frozen.get(name, self._revision))
                for name in sorted(self.live)
            ]

    def summary(self) -> StoreSummary:
        """See the port."""
        with self._asked():
            return StoreSummary(self._epoch, self._complete, self._revision, len(self.hosts))

    def nudge(self) -> None:
        """See the port."""
        self.nudges += 1

    def listen(self, seconds: float) -> Heard:
        """See the port; never blocks."""
        return Heard.NOTHING

    def _asked(self) -> threading.RLock:
        if self.away:
            raise StoreUnavailable("redis_unavailable", "Connection refused")
        return self._lock
