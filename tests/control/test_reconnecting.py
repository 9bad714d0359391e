"""A worker whose connection to Redis is new compares the copy at once, not at its next turn."""

from __future__ import annotations

from pathlib import Path

import redis

from deploy.process import wait_until
from tests.control.running import installation


def test_a_copy_that_was_lost_with_the_connection_is_back_before_the_next_turn(
    tmp_path: Path,
) -> None:
    with installation(tmp_path) as running:
        running.worker()
        running.add("mail.acme.test")
        running.all_ready()
        client = redis.Redis.from_url(running.redis_url, decode_responses=True)
        pipeline = client.pipeline()
        pipeline.flushall().client_kill_filter(_type="pubsub")
        pipeline.execute()
        wait_until(lambda: client.hget("vh:complete", "epoch"), 8, "the copy is complete again")
        assert client.hget("vh:host:mail.acme.test", "state") == "active"
