"""Who waits for a host: requests, of which any number leaves a thread for others, and `host add --wait`."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from control.api.virtual_hosts import MOST_WAITING
from deploy.control import EDGECTL, edgectl
from deploy.process import Process, wait_until
from tests.control.running import installation

HOST = "/api/v1/virtualhosts/mail.acme.test"
ASKED = 60
"""More than gunicorn has threads."""


def test_more_waiting_requests_than_threads_do_not_starve_others(tmp_path: Path) -> None:
    with installation(tmp_path) as running:
        token = edgectl(running.env, "token", "create", "t").strip()
        running.api()
        running.request("PUT", HOST, token, {})

        def ask(_: int) -> str:
            return str(running.request("GET", f"{HOST}?wait=60", token)["status"])

        with ThreadPoolExecutor(ASKED) as pool:
            waits = [pool.submit(ask, number) for number in range(ASKED)]
            at_once = ASKED - MOST_WAITING
            wait_until(lambda: answered(waits) == at_once, 30, "those too many are answered")
            assert running.request("PUT", HOST, token, {"hsts_max_age": 60})["hsts_max_age"] == 60
            assert answered(waits) == at_once, "the others still wait"
            running.worker()
            statuses = [wait.result(60) for wait in waits]
        assert statuses.count("ready") == MOST_WAITING


def answered(waits: list[Future[str]]) -> int:
    """How many of the requests have come to their end."""
    return sum(wait.done() for wait in waits)


def test_host_add_tells_each_step_as_it_happens(tmp_path: Path) -> None:
    with installation(tmp_path) as running:
        running.ca.pause = 0.3
        log, words = tmp_path / "add.log", [EDGECTL, "host", "add", "mail.acme.test", "--wait"]
        add = running.start(Process("add", words, log, log.exists, running.env))

        def tells(line: str) -> None:
            wait_until(lambda: line in log.read_text(), 30, f"it tells {line}")

        tells("pending: bootstrap")
        running.worker()
        tells("pending: issue")
        wait_until(lambda: running.ca.count("finalize"), 30, "the certificate is asked for")
        running.edge.paused = True
        tells("pending: publish")
        assert add.alive
        running.edge.paused = False
        tells("ready: served")
        wait_until(lambda: not add.alive, 30, "it ends")
        told = [line for line in log.read_text().splitlines() if line.startswith("  ")]
    steps = list(dict.fromkeys(line.strip().partition(" — ")[0] for line in told))
    assert steps == ["pending: bootstrap", "pending: issue", "pending: publish", "ready: served"]
