"""What can happen to Redis and to nginx while handshakes go on; short in CI, long in `make faults`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from deploy import services
from deploy.edge import health
from tests.bench.client import Load, Run
from tests.edge.conftest import A, B, Edge
from tests.edge.visitor import eventually


class UnderLoad:
    """Full handshakes for A from before the body until after it, at most `rate` a second (0: as many as go)."""

    THREADS = 8

    def __init__(self, edge: Edge, *, rate: float = 400) -> None:
        self.edge, self.rate = edge, rate

    def __enter__(self) -> UnderLoad:
        self.load = Load(self.edge.https, A, threads=self.THREADS, rate=self.rate)
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self.load.process.send_signal(signal.SIGTERM)

    def result(self) -> Run:
        """What the load saw."""
        return self.load.result()


def restart_redis(edge: Edge, *, keep: bool = True) -> None:
    """Start the edge's Redis again on its port; without `keep` it has lost everything."""
    folder = edge.directory.parent / "redis"
    if not keep:
        shutil.rmtree(folder)
    edge.redis_process = services.redis_server(folder, edge.redis_port).start()


def endure(edge: Edge, seconds: float) -> None:
    """Wait, and see that the edge has noticed."""
    time.sleep(seconds)
    report = health(edge.status_port)
    assert report.get("alarm") or float(str(report["sync_age_seconds"])) > seconds / 2, report


def killed(edge: Edge, seconds: float) -> None:
    """SIGKILL, gone for a while, back empty and then filled again by the control plane."""
    edge.redis_process.kill()
    endure(edge, seconds)
    restart_redis(edge, keep=False)
    refill(edge, "after-kill")


def stopped(edge: Edge, seconds: float) -> None:
    """SIGSTOP: connections stand, nothing answers."""
    edge.redis_process.signal(signal.SIGSTOP)
    endure(edge, seconds)
    edge.redis_process.signal(signal.SIGCONT)


def emptied(edge: Edge, seconds: float) -> None:
    """FLUSHALL; filled again later under a new epoch."""
    edge.redis.flushall()
    endure(edge, seconds)
    refill(edge, "after-flush")


def rewound(edge: Edge, seconds: float) -> None:
    """Killed, and back on an old dump for a while; then the control plane goes on above it."""
    old = dump(edge)
    edge.settle(edge.publisher.publish("later.acme.test"))
    restore(edge, old)
    endure(edge, seconds)
    refill(edge, "after-dump")


def misplaced(edge: Edge, seconds: float) -> None:
    """The wrong database: everything is in another one."""
    edge.redis.swapdb(0, 5)
    endure(edge, seconds)
    edge.redis.swapdb(0, 5)


def deleted_meanwhile(edge: Edge, hostname: str, fault: Callable[[Edge, float], None]) -> None:
    """What the control plane does after the fault for a host that was deleted in its database during it.

    Where the copy is made again it is without the host (its leaf must be gone before the fault); else a
    tombstone is published.
    """
    if fault in (stopped, misplaced):
        edge.publisher.withdraw(hostname, generation=2)
    eventually(lambda: edge.refuses(hostname), seconds=5)


def refill(edge: Edge, epoch: str) -> None:
    """What reconcile does: a new epoch, nobody else in it, every host under higher revisions, completeness last."""
    publisher = edge.publisher
    applied = int(str(health(edge.status_port)["applied"]))
    publisher.redis.delete("vh:complete")
    publisher.redis.set("vh:epoch", epoch)
    publisher.redis.set("vh:rev", applied)
    for hostname in set(publisher.redis.zrange("vh:hosts", 0, -1)) - publisher.leaves.keys():
        publisher.redis.zrem("vh:hosts", hostname)
        publisher.redis.delete(f"vh:host:{hostname}", f"vh:cert:{hostname}")
    for hostname, leaf in sorted(publisher.leaves.items()):
        publisher.publish(hostname, leaf=leaf)
    publisher.complete()
    publisher.redis.publish("vh:changed", "complete")


def dump(edge: Edge) -> bytes:
    """Redis' data set as a file's content, as a backup would have it."""
    edge.redis.save()
    folder = Path(edge.redis.config_get("dir")["dir"])
    return (folder / "dump.rdb").read_bytes()


def restore(edge: Edge, content: bytes) -> None:
    """Kill Redis and start it on an older dump."""
    edge.redis_process.kill()
    folder = edge.directory.parent / "redis"
    (folder / "dump.rdb").write_bytes(content)
    restart_redis(edge)


def alarm(edge: Edge) -> object:
    """The alarm that the edge raises now."""
    return health(edge.status_port).get("alarm")


def delete_takes_effect(edge: Edge) -> None:
    """A delete made after recovery acts within five seconds."""
    edge.publisher.withdraw(B, generation=2)
    edge.publisher.leaves.pop(B, None)
    eventually(lambda: edge.refuses(B), seconds=5)


def kill_a_worker(edge: Edge) -> None:
    """SIGKILL one worker, the syncer's first."""
    os.kill(edge.workers()[0], signal.SIGKILL)
