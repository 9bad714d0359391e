"""ALLOWED_HOSTS that knows the live virtual hosts: no restart for a new hostname, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

asked: ContextVar[str | None] = ContextVar("asked", default=None)


class LiveHosts(list[str]):
    """The static names, then the hostname that this very request asks for, if it is live.

    Django walks the whole list on each request; yielding one name instead of all keeps that walk
    short with 10,000 hosts. Outside requests (`load_initial_data`) only the static names show.
    """

    @property
    def static(self) -> list[str]:
        """The names an operator wrote down."""
        return list(super().__iter__())

    def __iter__(self) -> Iterator[str]:
        from modoboa_ext import hosts

        yield from super().__iter__()
        name = asked.get()
        if name and hosts.lookup(name).is_tenant:
            yield name
