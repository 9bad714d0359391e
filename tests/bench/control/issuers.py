"""Ways to a served hostname, each with its own Pebble: the edge, on-demand TLS of Caddy, certbot with nginx."""

from __future__ import annotations

import http.client
import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy import services
from deploy.process import Process, free_port, listening
from deploy.stack import Ports
from tests.bench.control.visitors import Visitors
from tests.running import RunningStack


class Issuer(ABC):
    """Something that gets certificates from a Pebble and serves them on `https_port`."""

    name: str
    https_port: int
    root: Path

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        self.directory.chmod(0o755)

    @property
    def visitors(self) -> Visitors:
        """Who shakes hands with it."""
        return Visitors(self.https_port, self.root)

    @abstractmethod
    def ask(self, hostname: str) -> None:
        """Say that `hostname` is to be served; returns when the tool has nothing more for us to do."""

    @abstractmethod
    def end(self) -> None:
        """End every process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class Edge(Issuer):
    """Everything of ours but Modoboa, as the demo runs it."""

    name = "edge"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.stack = RunningStack(self.directory, Ports.free(), environment=dict(settings or {}))
        self.stack.bring_up(self.stack.begin, lambda _: None, with_modoboa=False)
        self.https_port, self.root = self.stack.ports.edge_https, self.stack.ca_bundle

    @property
    def worker(self) -> Process:
        """The control plane's worker."""
        return self.stack.processes["control-worker"]

    def api(self) -> Api:
        """A connection to the control plane."""
        return Api(self.stack.ports.control, self.stack.control_token)

    def ask(self, hostname: str) -> None:
        """PUT it."""
        with self.api() as api:
            api.put(hostname)

    def end(self) -> None:
        """Everything."""
        self.stack.end()


class Api:
    """One kept-alive connection to the REST API; RuntimeError for what it refuses."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The next request opens it again."""
        self._connection.close()

    def request(self, method: str, path: str, body: str | None = None) -> bytes:
        """The body of the answer; `path` is below `/api/v1/virtualhosts`."""
        self._connection.request(method, f"/api/v1/virtualhosts{path}", body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return content

    def put(self, hostname: str) -> None:
        """Create a host."""
        self.request("PUT", f"/{hostname}", "{}")


class WithPebble(Issuer):
    """A contender; Pebble asks its `http_port`."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.https_port, self.http_port, self.acme_port = (free_port() for _ in range(3))
        management, dns, dns_management = (free_port() for _ in range(3))
        folder = self.directory / "pebble"
        folder.mkdir()
        self.begin(services.dns_server(folder, dns, dns_management))
        self.begin(
            services.pebble(
                folder, self.acme_port, management, dns_port=dns, http_port=self.http_port
            )
        )
        self.ca = services.pebble_files(folder).ca
        self.root = folder / "root.pem"
        self.root.write_bytes(services.pebble_root(folder, management))

    @property
    def acme_directory(self) -> str:
        """Pebble's directory."""
        return f"https://127.0.0.1:{self.acme_port}/dir"

    def begin(self, process: Process) -> Process:
        """Start one, to be ended with the others."""
        self.processes.append(process.start())
        return process

    def end(self) -> None:
        """Last started first."""
        for process in reversed(self.processes):
            process.stop(5)


class Caddy(WithPebble):
    """Debian's Caddy: the first handshake of a name makes it ask the CA, once its `ask` address agrees."""

    name = "caddy"

    def __init__(self) -> None:
        super().__init__()
        asked, config = free_port(), self.directory / "Caddyfile"
        config.write_text(
            f"{{\n admin off\n http_port {self.http_port}\n https_port {self.https_port}\n"
            f" storage file_system {self.directory}/storage\n"
            f" on_demand_tls {{\n  ask http://127.0.0.1:{asked}/\n }}\n}}\n"
            f"http://127.0.0.1:{asked} {{\n respond 200\n}}\n"
            f"https:// {{\n tls {{\n  on_demand\n  issuer acme {self.acme_directory} {{\n"
            f"   trusted_roots {self.ca}\n   disable_tlsalpn_challenge\n  }}\n }}\n respond ok\n}}\n"
        )
        argv = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
        self.begin(
            Process(
                "caddy",
                argv,
                self.directory / "caddy.log",
                lambda: listening(self.https_port),
                {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)},
            )
        )

    def ask(self, hostname: str) -> None:
        """Nothing: the first handshake asks."""


class Certbot(WithPebble):
    """Debian's certbot for nginx with a folder of server blocks: one run, one file, one reload a hostname."""

    name = "certbot"

    def __init__(self) -> None:
        super().__init__()
        self.sites = self.directory / "sites"
        self.webroot = self.directory / "webroot"
        for folder in (self.sites, self.webroot, self.directory / "logs"):
            folder.mkdir()
        temporary = "".join(
            f"{kind}_temp_path {self.directory}/{kind};"
            for kind in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
        )
        (self.directory / "nginx.conf").write_text(
            f"user root; pid {self.directory}/nginx.pid; error_log {self.directory}/error.log;"
            f"events {{}} http {{ access_log off; {temporary} server {{ "
            f"listen 127.0.0.1:{self.http_port}; root {self.webroot}; }} include {self.sites}/*; }}"
        )
        argv = ["nginx", "-p", str(self.directory), "-c", "nginx.conf", "-g", "daemon off;"]
        self.nginx = self.begin(
            Process("nginx", argv, self.directory / "nginx.log", lambda: listening(self.http_port))
        )

    def ask(self, hostname: str) -> None:
        """Issue, write the server block, reload."""
        there = str(self.directory / "certbot")
        run("certbot", "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
            "--webroot", "-w", str(self.webroot), "--server", self.acme_directory, "-d", hostname,
            "--config-dir", there, "--work-dir", there, "--logs-dir", there,
            REQUESTS_CA_BUNDLE=str(self.ca))  # fmt: skip
        live = f"{there}/live/{hostname}"
        (self.sites / hostname).write_text(
            f"server {{ listen 127.0.0.1:{self.https_port} ssl; server_name {hostname};"
            f"ssl_certificate {live}/fullchain.pem; ssl_certificate_key {live}/privkey.pem;"
            'return 200 "ok"; }'
        )
        run("nginx", "-p", str(self.directory), "-c", "nginx.conf", "-s", "reload")


def run(*argv: str, **environment: str) -> None:
    """Run a command to its end; CalledProcessError carries what it said."""
    options: dict[str, Any] = {"check": True, "capture_output": True}
    subprocess.run(argv, env={**os.environ, **environment}, **options)
