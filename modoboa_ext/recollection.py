"""A small memory of answers with an age, shared by the threads of one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recollection(Generic[K, V]):
    """Remembers what `ask` answered for `seconds`; forgets everything beyond `size` entries."""

    def __init__(self, seconds: float, size: int = 20_000) -> None:
        self.seconds = seconds
        self.size = size
        self.answers: dict[K, tuple[float, V]] = {}

    def get(self, key: K, ask: Callable[[K], V]) -> V:
        """The remembered answer while it is fresh, else a new one; an exception is not remembered."""
        known = self.answers.get(key)
        now = time.monotonic()
        if known and now - known[0] < self.seconds:
            return known[1]
        return self.remember(key, ask(key))

    def remember(self, key: K, answer: V) -> V:
        """Take an answer that was read just now, by whomever; it is given back."""
        if len(self.answers) >= self.size:
            self.answers.clear()
        self.answers[key] = (time.monotonic(), answer)
        return answer

    def forget(self) -> None:
        """Ask again for everything."""
        self.answers.clear()
