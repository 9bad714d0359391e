"""The whole system on loopback, brought up in order: the demo does it under supervisord, the tests by themselves."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import requests

from deploy import control, edge, modoboa, services
from deploy.process import Process, free_port

PRIMARY = "mail.provider.test"
Start = Callable[[Process], object]
Say = Callable[[str], object]


@dataclass(frozen=True)
class Ports:
    """Every port the system listens on, all on 127.0.0.1; the defaults are the demo's."""

    edge_http: int = 8080
    edge_https: int = 8443
    edge_status: int = 8081
    control: int = 8480
    redis: int = 8379
    modoboa_redis: int = 8380
    modoboa: int = 8481
    pebble: int = 14000
    pebble_management: int = 15000
    dns: int = 8053
    dns_management: int = 8055

    @classmethod
    def from_environment(cls) -> Ports:
        """The defaults, overridden by `EDGE_HTTP_PORT`, `CONTROL_PORT`, … where they are set."""
        values = {
            field.name: int(os.environ[f"{field.name.upper()}_PORT"])
            for field in fields(cls)
            if os.environ.get(f"{field.name.upper()}_PORT")
        }
        return cls(**values)

    @classmethod
    def free(cls) -> Ports:
        """Ports that nothing listens on now."""
        return cls(**{field.name: free_port() for field in fields(cls)})

    def named(self) -> dict[str, int]:
        """Name of the setting → port, for messages."""
        return {f"{field.name.upper()}_PORT": getattr(self, field.name) for field in fields(self)}


@dataclass
class Stack:
    """One installation under `directory`; `bring_up` starts it all, each part waited for."""

    directory: Path
    ports: Ports
    client_limits: bool = False
    nonce_reject: int = 5
    control_token: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def keyring(self) -> Path:
        """The file of sealing keys."""
        return self.directory / "keyring"

    @property
    def ca_bundle(self) -> Path:
        """Pebble's root of this start: what a client must trust to see green padlocks."""
        return self.directory / "pebble" / "root.pem"

    @property
    def logs(self) -> Path:
        """Where every process writes its log."""
        return self.directory / "log"

    @property
    def edge_directory(self) -> Path:
        """nginx's prefix."""
        return self.directory / "edge"

    @property
    def nginx_pid(self) -> Path:
        """The file with the pid of nginx's master."""
        return edge.pid_file(self.edge_directory)

    @property
    def modoboa_instance(self) -> Path:
        """Modoboa's instance."""
        return self.directory / "modoboa"

    @property
    def control_url(self) -> str:
        """The control plane, without `/api/v1`."""
        return f"http://127.0.0.1:{self.ports.control}"

    @property
    def control_env(self) -> dict[str, str]:
        """The settings of the control plane (API, worker, edgectl)."""
        ports = self.ports
        return {
            "DATABASE_URL": f"sqlite:///{self.directory}/control.db",
            "REDIS_URL": f"redis://127.0.0.1:{ports.redis}/0",
            "ACME_DIRECTORY_URL": f"https://127.0.0.1:{ports.pebble}/dir",
            "ACME_EMAIL": "hostmaster@provider.test",
            "ACME_CA_BUNDLE": str(services.pebble_files(self.directory / "pebble").ca),
            "EDGE_KEYRING": str(self.keyring),
            "RESOLVER": f"127.0.0.1:{ports.dns}",
            "EDGE_PUBLIC_ADDRESSES": "127.0.0.1",
            "EDGE_STATUS": f"http://127.0.0.1:{ports.edge_status}",
            "PREFLIGHT_PORT": str(ports.edge_http),
            "ALLOW_PRIVATE_ADDRESSES": "on",
            "PRIMARY_HOSTNAME": PRIMARY,
            "CONTROL_BIND": f"127.0.0.1:{ports.control}",
            **self.environment,
        }

    @property
    def edge_env(self) -> dict[str, str]:
        """The settings of the edge (nginx/configure and lua/edge)."""
        ports = self.ports
        owner = pwd.getpwuid(Path(__file__).stat().st_uid).pw_name
        return {
            "EDGE_ID": "edge-1",
            "EDGE_REDIS_URL": f"redis://127.0.0.1:{ports.redis}/0",
            "EDGE_UPSTREAM": f"http://127.0.0.1:{ports.modoboa}",
            "EDGE_HTTP_PORT": str(ports.edge_http),
            "EDGE_HTTPS_PORT": str(ports.edge_https),
            "EDGE_STATUS_PORT": str(ports.edge_status),
            "EDGE_PUBLIC_HTTPS_PORT": "443",
            "EDGE_CLIENT_LIMITS": "on" if self.client_limits else "off",
            "EDGE_KEYRING": str(self.keyring),
            "EDGE_USER": owner,
            "EDGE_MODOBOA_ROOT": str(self.modoboa_instance),
            "CONTROL_URL": self.control_url,
            "PRIMARY_HOSTNAME": PRIMARY,
        }

    def bring_up(self, start: Start, say: Say, *, with_modoboa: bool = True) -> None:
        """Start every process in order, each waited for; NotReady or RuntimeError says what is wrong."""

        def begin(process: Process) -> None:
            self._show_log(process)
            start(process)

        self.directory.mkdir(parents=True, exist_ok=True)
        new_root = self._start_ca(begin)
        say("Redis, DNS and the test CA answer")
        self._start_control(begin)
        say("control plane: API and worker run")
        if with_modoboa:
            self._start_modoboa(begin, say)
        begin(edge.edge(self.edge_directory, self.edge_env))
        say("nginx serves")
        if new_root:
            self.edgectl("host", "renew", "--all")
            say("the test CA has a new root: every certificate is issued again")

    def resume(self) -> None:
        """Read back what `bring_up` of an earlier start made, while its processes still run."""
        self.control_token = (self.directory / "control-token").read_text().strip()

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to the control plane's REST API (`path` below `/api/v1`), with our token."""
        headers = {"Authorization": f"Bearer {self.control_token}"} | options.pop("headers", {})
        url = f"{self.control_url}/api/v1{path}"
        return requests.request(method, url, headers=headers, timeout=90, **options)

    def _show_log(self, process: Process) -> None:
        """`log/<name>.log`, wherever the process really writes it."""
        self.logs.mkdir(exist_ok=True)
        link = self.logs / f"{process.name}.log"
        if process.log != link:
            link.unlink(missing_ok=True)
            link.symlink_to(process.log)

    def _start_ca(self, begin: Start) -> bool:
        """Redis, DNS stub and Pebble; whether Pebble's root replaces the one of an earlier start."""
        ports, directory = self.ports, self.directory / "pebble"
        begin(services.redis_server(self.directory / "redis", ports.redis, persistent=True))
        directory.mkdir(exist_ok=True)
        begin(services.dns_server(directory, ports.dns, ports.dns_management))
        begin(
            services.pebble(
                directory,
                ports.pebble,
                ports.pebble_management,
                dns_port=ports.dns,
                http_port=ports.edge_http,
                nonce_reject=self.nonce_reject,
            )
        )
        again = self.ca_bundle.exists()
        self.ca_bundle.write_bytes(services.pebble_root(directory, ports.pebble_management))
        return again

    def _start_control(self, begin: Start) -> None:
        """Keyring, schema and token (made once), then API and worker."""
        control.make_keyring(self.control_env)
        control.migrate(self.control_env)
        token = self.directory / "control-token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(control.token(self.control_env, "modoboa"))
        self.resume()
        begin(control.api(self.directory / "control", self.control_env))
        begin(control.worker(self.directory / "control", self.control_env))

    def _start_modoboa(self, begin: Start, say: Say) -> None:
        """Modoboa's own Redis, the instance (made once), its web server, queue worker and scheduler."""
        ports, instance = self.ports, self.modoboa_instance
        redis_directory = self.directory / "modoboa-redis"
        begin(services.redis_server(redis_directory, ports.modoboa_redis, name="modoboa-redis"))
        if not (instance / "manage.py").exists():
            say("installing a Modoboa instance (about half a minute, once)")
        modoboa.create_instance(
            instance,
            f"redis://127.0.0.1:{ports.modoboa_redis}/0",
            PRIMARY,
            self.control_url,
            self.control_token,
        )
        begin(modoboa.web(instance, ports.modoboa))
        begin(modoboa.rqworker(instance))
        begin(modoboa.rqcron(instance))
        say("Modoboa answers")

    def edgectl(self, *words: str) -> str:
        """Run `edgectl` with this installation's settings; its standard output."""
        return control.edgectl(self.control_env, *words)
