"""connect(settings): the only importer of adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from control.adapters.dns_resolver import DnsResolver, PortProbe
from control.adapters.redis_edge import RedisEdgeStore
from control.adapters.redis_edge import connect as connect_redis
from control.adapters.status_listener import HttpStatus
from control.adapters.wire import Handshakes
from control.database import Database
from control.plane import Plane
from control.ports import CertificateAuthority, Messenger
from control.sealing import Keyring
from control.settings import Settings


def connect(settings: Settings, clock: Callable[[], datetime]) -> Plane:
    """The whole control plane, connected. Raises KeyringError, DatabaseUnavailable; asks Redis nothing."""

    bundle = str(settings.acme_ca_bundle) if settings.acme_ca_bundle else None
    authorities: dict[str, CertificateAuthority] = {}
    lock = threading.Lock()

    def authority(directory_url: str) -> CertificateAuthority:
        with lock:
            if directory_url not in authorities:
                from control.adapters.acme_authority import (
                    AcmeAuthority,  # 0.2 s, for who asks a CA
                )

                authorities[directory_url] = AcmeAuthority(directory_url, ca_bundle=bundle)
            return authorities[directory_url]

    return Plane(
        settings=settings,
        database=Database(settings.database_url),
        store=RedisEdgeStore(connect_redis(settings.redis_url)),
        keyring=Keyring(settings.edge_keyring),
        authority=authority,
        resolver=DnsResolver(settings.resolver),
        probe=PortProbe(allow_private=settings.allow_private_addresses),
        clock=clock,
    )


def messenger(settings: Settings) -> Messenger:
    """What posts to webhooks."""
    from control.adapters.messenger import HttpMessenger

    return HttpMessenger(allow_private=settings.allow_private_addresses)


def handshakes() -> Handshakes:
    """What looks at the wire for `edgectl explain`."""
    return Handshakes()


def status_listeners() -> HttpStatus:
    """What asks edges for `edgectl explain`."""
    return HttpStatus()
