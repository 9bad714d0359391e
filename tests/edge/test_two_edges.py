"""Two edges in network namespaces, each with a local replica of Redis; the way to the primary is cut and healed."""

import contextlib
import os
import time

import pytest
import redis

from deploy import edge as deployed
from deploy.process import Process, free_port, listening, wait_until
from tests.edge import namespaces
from tests.edge.conftest import A, B, modoboa_root
from tests.edge.namespaces import ip
from tests.edge.publisher import Authority, Keyring, Publisher
from tests.edge.visitor import Refused, Visit, eventually


class Box:
    """A namespace with an address of its own, a Redis replica and an edge."""

    def __init__(self, number: int, directory, keyring, primary_port: int) -> None:
        self.name, self.link = f"edge{os.getpid()}-{number}", f"ve{os.getpid() % 100000}-{number}"
        subnet = f"10.{200 + os.getpid() % 50}.{number}"  # (1) of this run alone
        self.ours, self.theirs = f"{subnet}.1", f"{subnet}.2"
        self.number = number
        self.undo = contextlib.ExitStack()
        try:
            self._build(directory, keyring, primary_port)
        except BaseException:
            self.undo.close()
            raise

    def _build(self, directory, keyring, primary_port: int) -> None:
        ip("netns", "add", self.name)
        self.undo.callback(ip, "netns", "del", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self.undo.callback(ip, "link", "del", self.link)  # (2) a namespace takes its time to go
        ip("addr", "add", f"{self.ours}/24", "dev", self.link)
        ip("link", "set", self.link, "up")
        for words in (
            ("addr", "add", f"{self.theirs}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            ip("-n", self.name, *words)
        ip("-n", self.name, "link", "set", "lo", "up")
        self.redis = self._inside(
            "replica",
            [
                *["redis-server", "--port", "6379", "--bind", self.theirs, "127.0.0.1"],
                *["--protected-mode", "no", "--dir", str(directory), "--save", ""],
                *["--repl-timeout", "5", "--replicaof", self.ours, str(primary_port)],
            ],
            directory,
            6379,
        )
        env = {
            "EDGE_ID": f"box-{self.number}",
            "EDGE_LISTEN": "0.0.0.0",
            "EDGE_HTTP_PORT": "80",
            "EDGE_HTTPS_PORT": "443",
            "EDGE_STATUS_PORT": "8081",
            "EDGE_REDIS_URL": "redis://127.0.0.1:6379/0",
            "EDGE_HEARTBEAT_REDIS_URL": f"redis://{self.ours}:{primary_port}/0",
            "EDGE_KEYRING": str(keyring),
            "EDGE_MODOBOA_ROOT": str(modoboa_root(directory / "modoboa")),
            "EDGE_USER": "root",
            "EDGE_WORKERS": "1",
            "EDGE_CLIENT_LIMITS": "off",
        }
        deployed.configure(directory / "nginx", env)
        argv = ["nginx", "-p", str(directory / "nginx"), "-c", "nginx.conf", "-g", "daemon off;"]
        self.nginx = self._inside("nginx", argv, directory, 443)

    def _inside(self, name, argv, directory, port) -> Process:
        argv = ["ip", "netns", "exec", self.name, *argv]
        ready = lambda: listening(port, self.theirs)  # noqa: E731
        process = Process(name, argv, directory / f"{name}.log", ready).start()
        self.undo.callback(process.kill)
        return process

    def serves(self, hostname: str) -> str | None:
        """The sha256 of what it shows, None when refused."""
        try:
            with Visit(443, hostname, address=self.theirs) as visit:
                return visit.sha256
        except (Refused, OSError):
            return None

    def end(self) -> None:
        """Everything of the box."""
        self.undo.close()


@pytest.fixture
def boxes(tmp_path):
    namespaces.demand()
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no"]
    argv += ["--dir", str(tmp_path), "--save", ""]
    primary = Process("primary", argv, tmp_path / "primary.log", lambda: listening(port)).start()
    client = redis.Redis(port=port, decode_responses=True)
    publisher = Publisher(client, Keyring.make(tmp_path / "keyring"), Authority.make())
    publisher.begin()
    made = []
    with contextlib.ExitStack() as stack:
        stack.callback(primary.kill)
        for number in (1, 2):
            folder = tmp_path / f"box{number}"
            folder.mkdir()
            made.append(Box(number, folder, publisher.keyring.path, port))
            stack.callback(made[-1].end)
        yield made, publisher


def beats(publisher, revision):
    """Whether both edges' heartbeats in the primary say `revision`."""
    found = [publisher.redis.hget(f"vh:edge:box-{n}", "rev") for n in (1, 2)]
    return all(value and int(value) >= revision for value in found)


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_two_edges_outlive_their_primary_and_agree_again(boxes, seconds):
    (one, two), publisher = boxes
    revision = publisher.publish(A)
    wait_until(lambda: beats(publisher, revision), 10, "both heartbeats")
    for box in (one, two):
        assert box.serves(A) == publisher.leaves[A].sha256
    publisher.redis.config_set("bind", "127.0.0.1")
    publisher.redis.client_kill_filter(_type="replica")
    began = time.monotonic()
    revision = publisher.publish(B)
    while time.monotonic() - began < seconds:
        assert one.serves(A) == two.serves(A) == publisher.leaves[A].sha256
        assert one.serves(B) is two.serves(B) is None
    assert not beats(publisher, revision)
    publisher.redis.config_set("bind", "0.0.0.0")
    eventually(lambda: one.serves(B) == two.serves(B) == publisher.leaves[B].sha256, seconds=20)
    wait_until(lambda: beats(publisher, revision), 10, "both heartbeats after healing")


def test_a_dead_edge_stops_being_waited_for(boxes):
    (one, _), publisher = boxes
    revision = publisher.publish(A)
    wait_until(lambda: beats(publisher, revision), 10, "both heartbeats")
    one.nginx.kill()
    assert 0 < publisher.redis.ttl("vh:edge:box-1") <= 30
    publisher.redis.expire("vh:edge:box-1", 1)
    eventually(lambda: not publisher.redis.exists("vh:edge:box-1"))
    assert publisher.redis.exists("vh:edge:box-2")
