"""A primary, two replicas and three sentinels, to fail over between."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import redis

from deploy import services
from deploy.process import Process, free_port, listening, wait_until


class Watched:
    """Redis `edge` under Sentinel, with a `password` where one is given; `url` is what an edge is given."""

    def __init__(self, directory: Path, password: str = "") -> None:
        self.ports = [free_port() for _ in range(3)]
        self.sentinels = [free_port() for _ in range(3)]
        self.directory, self.password = directory, password
        self.processes: dict[int, Process] = {}
        for port in self.ports:
            self.begin(port)
        for port in self.ports[1:]:
            self.client(port).replicaof("127.0.0.1", self.ports[0])
        wait_until(
            lambda: len(self.client(self.ports[0]).info("replication").keys()) > 10, 5, "replicas"
        )
        wait_until(lambda: self.linked(self.ports[0]) == 2, 10, "replicas are not in step")
        for port in self.sentinels:
            self._sentinel(port)
        wait_until(lambda: self.known() == 2, 60, "sentinels do not know each other")

    @property
    def url(self) -> str:
        """`redis+sentinel://…`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        secret = f":{quote(self.password)}@" if self.password else ""
        return f"redis+sentinel://{secret}{hosts}/edge/0"

    def begin(self, port: int) -> None:
        """Start (again) the Redis on `port`."""
        process = services.redis_server(self.directory / f"redis-{port}", port)
        if self.password:
            secrets = ["--requirepass", self.password, "--masterauth", self.password]
            process.argv = [*process.argv, *secrets]
            process.ready = lambda: listening(port)
        self.processes[port] = process.start()

    def client(self, port: int) -> redis.Redis:
        """A client of one Redis or sentinel."""
        password = self.password if port in self.ports else None
        return redis.Redis(port=port, password=password, decode_responses=True, socket_timeout=5)

    def linked(self, primary: int) -> int:
        """How many replicas are in step with this primary."""
        states = [self.client(port).info("replication") for port in self.ports if port != primary]
        return sum(
            state.get("master_port") == primary and state.get("master_link_status") == "up"
            for state in states
        )

    def known(self) -> int:
        """How many other sentinels the first one knows, when it knows both replicas too."""
        state = self.client(self.sentinels[0]).sentinel_master("edge")
        return int(state["num-other-sentinels"]) if int(state["num-slaves"]) == 2 else 0

    def _sentinel(self, port: int) -> None:
        folder = self.directory / f"sentinel-{port}"
        folder.mkdir(parents=True)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor edge 127.0.0.1 {self.ports[0]} 2\n"
            "sentinel down-after-milliseconds edge 1000\nsentinel failover-timeout edge 5000\n"
            + (f"sentinel auth-pass edge {self.password}\n" if self.password else "")
        )
        argv = ["redis-sentinel", str(configuration)]
        process = Process("sentinel", argv, folder / "log", lambda: listening(port))
        self.processes[port] = process.start()

    def primary(self) -> int:
        """The port of the primary, as the sentinels see it."""
        address = self.client(self.sentinels[0]).sentinel_get_master_addr_by_name("edge")
        return int(address[1])

    def fail_over(self) -> int:
        """Kill the primary, wait for the next one (its port), and bring the old one back as a replica.

        Not before both replicas have everything: who returns is empty and a primary until Sentinel says otherwise.
        """
        old = self.primary()
        wait_until(lambda: self.linked(old) == 2, 60, "replicas are not in step")
        self.processes[old].kill()
        wait_until(lambda: self.primary() != old, 30, "no failover")
        new = self.primary()
        wait_until(
            lambda: self.client(new).info("replication")["role"] == "master", 10, "no primary"
        )
        self.begin(old)
        return new

    def end(self) -> None:
        """Kill everything."""
        for process in self.processes.values():
            process.kill()
