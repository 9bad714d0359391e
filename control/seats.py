"""Who may begin: some threads are kept for hosts that nothing speaks against, so that slow ones hold up no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from control.claims import Claim


class Seats:
    """A worker's threads, and who may have the last of them; pure.

    Two things speak against a host: that it has failed before, and that its registered domain has several
    at work already. With one of them it leaves an eighth of the threads free, with both a quarter; at
    least one each, but none of three threads or fewer.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._step = max(1, threads // 8) if threads > 3 else 0

    def may_begin(self, held: Claim, running: Collection[Claim]) -> bool:
        """Whether a thread is free for it."""
        against = held.tried + (held.domain in self.crowded(running))
        return len(running) < self.room(against)

    def room(self, against: int) -> int:
        """How many may be at work when one more begins that so many things speak against (0, 1 or 2)."""
        return self.threads - against * self._step

    def crowded(self, running: Collection[Claim]) -> Sequence[str]:
        """Registered domains that have their part."""
        counted = Counter(held.domain for held in running)
        return sorted(domain for domain, number in counted.items() if number >= max(1, self._step))
