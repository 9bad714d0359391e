"""Two real edges and the real control plane: `ready` waits for both, and no longer for one that has died."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.adapters.redis_edge import DISCOVER_SECONDS
from deploy import edge as deployed
from deploy.process import Process, free_port, wait_until

SECOND = "edge-2"


@pytest.fixture
def second(edge_stack, tmp_path: Path) -> Iterator[Process]:
    """Another edge beside the stack's own, whose heartbeat goes with it."""
    ports = ("EDGE_HTTP_PORT", "EDGE_HTTPS_PORT", "EDGE_STATUS_PORT")
    env = edge_stack.edge_env | {"EDGE_ID": SECOND, **{name: str(free_port()) for name in ports}}
    process = deployed.edge(tmp_path / "edge", env, name=SECOND).start()
    try:
        wait_until(lambda: SECOND in beating(edge_stack), 10, "no heartbeat")
        time.sleep(DISCOVER_SECONDS + 0.5)  # so long the worker may know the edges of before
        yield process
    finally:
        process.kill()
        edge_stack.redis.delete(f"vh:edge:{SECOND}")


def beating(stack) -> set[str]:
    """Ids of the edges that live, as the control plane sees them."""
    return {edge["id"] for edge in stack.api("GET", "/edges").json()["items"]}


def created(stack, name: str) -> None:
    """A new virtual host."""
    assert stack.api("PUT", f"/virtualhosts/{name}", json={"domains": []}).status_code == 201


def host(stack, name: str, wait: int = 0) -> dict[str, Any]:
    """What the control plane says of it."""
    return stack.api("GET", f"/virtualhosts/{name}?wait={wait}").json()


def test_ready_waits_for_every_edge_and_says_which_serve(edge_stack, second):
    created(edge_stack, "mail.both.test")
    both = host(edge_stack, "mail.both.test", wait=30)
    assert both["status"] == "ready"
    assert {edge["edge"] for edge in both["served_by"]} == {"edge-1", SECOND}

    os.killpg(second.pid, signal.SIGSTOP)
    created(edge_stack, "mail.later.test")
    assert host(edge_stack, "mail.later.test", wait=3)["status"] == "pending"
    os.killpg(second.pid, signal.SIGCONT)
    later = host(edge_stack, "mail.later.test", wait=30)
    assert later["status"] == "ready"
    assert {edge["edge"] for edge in later["served_by"]} == {"edge-1", SECOND}


@pytest.mark.long
def test_an_edge_that_dies_is_waited_for_until_its_heartbeat_ends(edge_stack, second):
    second.kill()
    created(edge_stack, "mail.widow.test")
    assert SECOND in beating(edge_stack)
    assert host(edge_stack, "mail.widow.test", wait=5)["status"] != "ready"
    wait_until(lambda: SECOND not in beating(edge_stack), 40, "the heartbeat does not end")
    ready = lambda: host(edge_stack, "mail.widow.test", wait=5)["status"] == "ready"  # noqa: E731
    wait_until(ready, 60, "not ready without the dead edge")
    served = host(edge_stack, "mail.widow.test")["served_by"]
    assert {edge["edge"] for edge in served} == {"edge-1"}
