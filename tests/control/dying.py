"""A worker that kills itself with SIGKILL at a named point: `python -m tests.control.dying POINT [NTH]`."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from control import claims, issuance, provisioning, reconcile, registry
from control.plane import Plane, Who
from control.settings import from_environment
from control.wiring import connect
from control.worker import Worker

POINTS = (
    "after claim",
    "after key stored",
    "after account",
    "after newOrder",
    "after challenge published",
    "after answer",
    "before finalize",
    "before download",
    "after download",
    "after certificate stored",
    "before publish",
    "in the middle of publish",
    "before ready",
    "during delete",
    "during renewal swap",
    "during reconcile",
)


def die() -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """Passes everything on to `inner`, and dies before or after the nth call of one method."""

    def __init__(
        self, inner: Any, method: str, when: str, nth: int, only: Callable[..., bool]
    ) -> None:
        self._inner, self._method, self._when, self._only = inner, method, when, only
        self._left = nth
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self._left -= bool(self._only(*arguments, **options))
                last = self._left == 0
                self._left -= last
            if last and self._when == "before":
                die()
            result = found(*arguments, **options)
            if last:
                die()
            return result

        return call


def always(*_: Any, **__: Any) -> bool:
    """Every call counts."""
    return True


def with_challenge(*_: Any, challenges: Any = (), **__: Any) -> bool:
    """Publishes of a challenge count."""
    return bool(challenges)


def active(host: Any, **_: Any) -> bool:
    """Publishes of a host that has a certificate count."""
    return host.certificate is not None


AUTHORITY = {
    "after account": ("register", "after"),
    "after newOrder": ("new_order", "after"),
    "after answer": ("answer", "after"),
    "before finalize": ("finalize", "before"),
    "before download": ("download", "before"),
    "after download": ("download", "after"),
}
STORE = {
    "after challenge published": ("publish", "after", with_challenge),
    "before publish": ("publish", "before", active),
    "in the middle of publish": ("publish", "after", active),
    "during reconcile": ("begin", "after", always),
}
FUNCTIONS: dict[str, tuple[Any, str, str]] = {
    "after claim": (claims, "claim", "after"),
    "after key stored": (issuance, "_start", "after"),
    "after certificate stored": (issuance, "_keep", "after"),
    "during renewal swap": (issuance, "_keep", "after"),
    "before ready": (provisioning, "_succeed", "before"),
    "during delete": (registry, "publish", "before"),
}


def arm(plane: Plane, point: str, nth: int) -> Plane:
    """The same control plane, which ends at the point."""
    if point in AUTHORITY:
        method, when = AUTHORITY[point]
        made = plane.authority
        wrapped: dict[str, Any] = {}

        def authority(url: str) -> Any:
            return wrapped.setdefault(url, Dying(made(url), method, when, nth, always))

        return replace(plane, authority=authority)
    if point in STORE:
        method, when, only = STORE[point]
        return replace(plane, store=Dying(plane.store, method, when, nth, only))  # type: ignore[arg-type]
    module, name, when = FUNCTIONS[point]
    original = getattr(module, name)
    counter, lock = itertools.count(1), threading.Lock()

    def call(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            with lock:
                last = next(counter) == nth
            if last:
                die()
        result = original(*arguments, **options)
        if when == "after" and (result or name != "claim"):
            with lock:
                last = next(counter) == nth
            if last:
                die()
        return result

    setattr(module, name, call)
    return plane


def main() -> None:
    """Run until killed."""
    point = sys.argv[1]
    nth = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    settings = from_environment(os.environ)
    plane = connect(settings, lambda: datetime.now(UTC))
    plane = arm(plane, point, nth)
    if point == "during delete":
        registry.delete(plane, sys.argv[3], Who("test"))
    if point == "during reconcile":
        reconcile.rebuild(plane, "a test")
    Worker(plane, settings.worker_threads).run()


if __name__ == "__main__":
    main()
