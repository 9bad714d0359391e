"""What the edge is compared with, one pinned worker each, same certificates: static nginx, HAProxy, Caddy.

How a process lies in memory moves what it costs by 2 %, for as long as it runs: so of what is compared closely there
are several processes under one name, and a round's cost is their mean.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from deploy import edge as deployed
from deploy import services
from deploy.process import Process, free_port, listening
from tests.bench.client import Run, run
from tests.edge.publisher import Authority, Keyring, Leaf, Publisher
from tests.edge.visitor import plain

SERVER_CORE, CLIENT_CORE = 0, 1
INSTANCES = 3
NAMES = 10
OWNER = pwd.getpwuid(os.getuid()).pw_name


def name_of(number: int) -> str:
    """The hostname with a number."""
    return f"h{number:06d}.bench.test"


RAISED = {
    "EDGE_CLIENT_LIMITS": "on",
    "EDGE_CLIENT_HANDSHAKES": "100000",
    "EDGE_CLIENT_REQUESTS": "100000",
    "EDGE_CLIENT_CONNECTIONS": "65535",
}
PATTERN = "h%06d.bench.test"
PLAIN = (
    'proxy_pass http://modoboa; proxy_http_version 1.1; proxy_set_header Connection "";'
    "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;"
)
SAME_HEADERS = (
    "proxy_set_header X-Virtual-Host $server_name;"
    "add_header Strict-Transport-Security max-age=31536000 always;"
    "add_header X-Content-Type-Options nosniff always;"
)

# what Modoboa's API answers with: its settings' headers, and a list
LIST = ", ".join(
    f'{{"pk": {n}, "name": "d{n}.bench.test", "enabled": true, "quota": "0", "accounts": 12}}'
    for n in range(6)
)
ANSWER = (
    "default_type application/json; add_header X-Frame-Options SAMEORIGIN;"
    'add_header Vary "Accept, Accept-Language, origin"; add_header Content-Language en;'
    'add_header Allow "GET, POST, HEAD, OPTIONS";'
    f'return 200 \'{{"count": 6, "results": [{LIST}]}}\';'
)


def like_public(authority: Authority, hostname: str) -> Leaf:
    """A P-256 leaf as large as a public CA's (its two SCTs stand in as 250 random bytes)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    from tests.edge.publisher import DAY, NOW

    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=authority.intermediate.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - DAY,
        not_valid_after=NOW + 90 * DAY,
    )
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False
    )
    filler = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), os.urandom(480)
    )
    builder = builder.add_extension(filler, critical=False)
    return Leaf(
        hostname, key, builder.sign(authority.key, hashes.SHA256()), [authority.intermediate]
    )


@dataclass
class Contender:
    """A server that is up: its port, and the processes whose CPU time counts; several may have one name."""

    name: str
    port: int
    process: Process
    pids: Callable[[], Sequence[int]]

    def cpu(self) -> float:
        """CPU seconds that its workers have used so far (all threads)."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pin(self) -> Contender:
        """Put every thread on the server's core."""
        for pid in self.pids():
            argv = ["taskset", "-acp", str(SERVER_CORE), str(pid)]
            subprocess.run(argv, check=True, capture_output=True)
        return self

    def resident(self) -> int:
        """Private memory of its workers in bytes; zones that all processes share are not of it."""
        return sum(private(pid) for pid in self.pids())


def private(pid: int) -> int:
    """Bytes that a process has for itself: of its mappings those that are not shared, by /proc/PID/smaps."""
    total, shared = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word, *rest = line.split()
        if not word.endswith(":"):
            shared = rest[0].endswith("s")
        elif word in ("Private_Dirty:", "Private_Clean:") and not shared:
            total += 1024 * int(rest[0])
    return total


@dataclass
class Field:
    """A folder with one certificate authority, in which contenders are started."""

    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="edge-bench-")))
    authority: Authority = field(default_factory=Authority.make)
    processes: list[Process] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)

    def __enter__(self) -> Field:
        self.directory.chmod(0o755)
        self.leaves = {name_of(n): like_public(self.authority, name_of(n)) for n in range(NAMES)}
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.stop(5)
        shutil.rmtree(self.directory, ignore_errors=True)

    def begin(self, process: Process) -> Process:
        """Start and remember."""
        self.processes.append(process.start())
        return process

    def upstream(self) -> int:
        """A Modoboa that answers at once, away from the server's core; its port."""
        port = free_port()
        body = f"server {{ listen 127.0.0.1:{port}; location / {{ {ANSWER} }} }}"
        process = self._nginx("upstream", body, port)
        for pid in workers_of(process):
            subprocess.run(["taskset", "-cp", str(CLIENT_CORE), str(pid)], capture_output=True)
        return port

    def static(
        self, name: str, tls: str, upstream: int | None = None, headers: str = ""
    ) -> Contender:
        """nginx with one server block a hostname; `tls` and `headers` are its further directives."""
        port = free_port()
        blocks = []
        for hostname, leaf in self.leaves.items():
            pem = self.directory / f"{hostname}.pem"
            pem.write_text(leaf.key_pem + leaf.chain)
            where = (
                f"{PLAIN} proxy_set_header Host {hostname}; {headers}"
                if upstream
                else 'return 200 "ok";'
            )
            blocks.append(
                f"server {{ listen 127.0.0.1:{port} ssl http2; server_name {hostname};"
                f"ssl_certificate {pem}; ssl_certificate_key {pem};"
                f"ssl_protocols TLSv1.2 TLSv1.3; {tls} location / {{ {where} }} }}"
            )
        if upstream:
            blocks.append(
                f"upstream modoboa {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 10000; }}"
            )
        process = self._nginx(name, "\n".join(blocks), port)
        return Contender(name, port, process, lambda: workers_of(process)).pin()

    def folder(self, name: str) -> Path:
        """A folder for one more process of that name; it does not exist yet."""
        return self.directory / f"{name}.{len(list(self.directory.glob(f'{name}.*'))) + 1}"

    def _nginx(self, name: str, http: str, port: int) -> Process:
        folder = self.folder(name)
        (folder / "logs").mkdir(parents=True)
        temp = "".join(
            f"{kind}_temp_path {folder}/{kind};"
            for kind in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"user {OWNER}; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;"
            "worker_rlimit_nofile 65536; events { worker_connections 8192; }"
            f"http {{ access_log off; keepalive_requests 1000000; {temp} {http} }}"
        )
        argv = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
        return self.begin(Process(name, argv, folder / "log", lambda: listening(port)))

    def edge(
        self, name: str = "edge", upstream: int | None = None, **settings: str
    ) -> EdgeContender:
        """The edge as shipped, on one worker; limits are on, but raised for the one client, the access log is off."""
        folder = self.folder(name)
        folder.mkdir()
        ports = [free_port() for _ in range(4)]
        self.begin(services.redis_server(folder / "redis", ports[0]))
        client = redis.Redis(port=ports[0], decode_responses=True)
        publisher = Publisher(client, Keyring.make(folder / "keyring"), self.authority)
        env = {
            "EDGE_REDIS_URL": f"redis://127.0.0.1:{ports[0]}/0",
            "EDGE_HTTP_PORT": str(ports[1]),
            "EDGE_HTTPS_PORT": str(ports[2]),
            "EDGE_STATUS_PORT": str(ports[3]),
            "EDGE_UPSTREAM": f"http://127.0.0.1:{upstream or free_port()}",
            "EDGE_KEYRING": str(publisher.keyring.path),
            "EDGE_USER": OWNER,
            "EDGE_WORKERS": "1",
            "EDGE_ACCESS_LOG": "off",
            **RAISED,
            **{f"EDGE_{n.upper()}": v for n, v in settings.items()},
        }
        return EdgeContender(name, ports[2], folder / "nginx", env, publisher, self)

    def haproxy(self) -> Contender:
        """Debian's HAProxy with a folder of certificates, one thread."""
        port, folder = free_port(), self.directory / "haproxy"
        (folder / "certs").mkdir(parents=True)
        for hostname, leaf in self.leaves.items():
            (folder / "certs" / f"{hostname}.pem").write_text(leaf.chain + leaf.key_pem)
        (folder / "haproxy.cfg").write_text(
            "global\n nbthread 1\n tune.ssl.default-dh-param 2048\n"
            "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n"
            f"frontend f\n bind 127.0.0.1:{port} ssl crt {folder}/certs strict-sni alpn h2,http/1.1\n"
            " http-request return status 200\n"
        )
        argv = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        process = self.begin(Process("haproxy", argv, folder / "log", lambda: listening(port)))
        return Contender("haproxy", port, process, lambda: [process.pid]).pin()

    def caddy(self) -> Contender:
        """Debian's Caddy with the same files, on one core."""
        port, folder = free_port(), self.directory / "caddy"
        folder.mkdir()
        blocks = []
        for hostname, leaf in self.leaves.items():
            chain, key = folder / f"{hostname}.crt", folder / f"{hostname}.key"
            chain.write_text(leaf.chain)
            key.write_text(leaf.key_pem)
            blocks.append(f"https://{hostname}:{port} {{\n tls {chain} {key}\n respond ok\n}}\n")
        (folder / "Caddyfile").write_text(
            "{\n admin off\n auto_https off\n log {\n level ERROR\n }\n}\n" + "".join(blocks)
        )
        argv = [
            "taskset",
            "-c",
            str(SERVER_CORE),
            "caddy",
            "run",
            "--config",
            str(folder / "Caddyfile"),
        ]
        argv += ["--adapter", "caddyfile"]
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "GOMAXPROCS": "1"}
        process = Process("caddy", argv, folder / "log", lambda: listening(port), environment)
        self.begin(process)
        return Contender("caddy", port, process, lambda: [process.pid]).pin()


@dataclass
class EdgeContender:
    """An edge that is prepared: publish first, then `start`."""

    name: str
    port: int
    directory: Path
    env: dict[str, str]
    publisher: Publisher
    field: Field

    def publish_all(self) -> None:
        """The field's hosts."""
        self.publisher.begin()
        for hostname, leaf in self.field.leaves.items():
            self.publisher.publish(hostname, leaf=leaf, hsts="31536000")

    def start(self) -> Contender:
        """nginx, ready when the whole index is there, its workers pinned."""
        process = self.field.begin(deployed.edge(self.directory, self.env, name=self.name))
        self.wait_complete()
        return Contender(self.name, self.port, process, lambda: workers_of(process)).pin()

    def metric(self, name: str) -> float:
        """The sum of a metric's samples, those of one label set when `name` has labels; a second old at most."""
        time.sleep(1.2)
        port = int(self.env["EDGE_STATUS_PORT"])
        lines = plain(port, "/metrics", "127.0.0.1").body.decode().splitlines()
        found = [line.split() for line in lines if line.startswith((name + " ", name + "{"))]
        return sum(float(words[-1]) for words in found)

    def running(self) -> Contender:
        """With the field's hosts, started."""
        self.publish_all()
        return self.start()

    @contextlib.contextmanager
    def counting(self, name: str, least: float, most: float) -> Iterator[None]:
        """What happens inside must raise a counter of the server by `least` to `most`, or it was not what it seems."""
        before = self.metric(name)
        yield
        counted = self.metric(name) - before
        if not least <= counted <= most:
            raise RuntimeError(f"{name} rose by {counted:g}, not by {least:g} to {most:g}")

    def wait_complete(self) -> None:
        """Until every published revision is applied."""
        wanted = int(self.publisher.redis.get("vh:rev"))
        status = int(self.env["EDGE_STATUS_PORT"])
        while int(deployed.health(status)["applied"]) < wanted:
            time.sleep(0.02)


@contextlib.contextmanager
def counting(
    edges: Sequence[EdgeContender], name: str, least: float, most: float
) -> Iterator[None]:
    """The same for several edges, each of which has its share."""
    with contextlib.ExitStack() as stack:
        for edge in edges:
            stack.enter_context(edge.counting(name, least, most))
        yield


def workers_of(process: Process) -> list[int]:
    """nginx's workers."""
    pid = process.pid
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def cost(contender: Contender, work: Callable[[int], int], idle: float = 0) -> float:
    """CPU seconds for each of the operations that `work(port)` says it did.

    What the server uses by the clock (`idle` CPU seconds a second) is not of them: a busy machine takes longer.
    """
    before, began = contender.cpu(), time.monotonic()
    done = work(contender.port)
    time.sleep(0.01)
    by_the_clock = idle * (time.monotonic() - began)
    return (contender.cpu() - before - by_the_clock) / done


def idle_cost(contender: Contender, seconds: float = 1) -> float:
    """CPU seconds that a server uses in a second without any work."""
    before = contender.cpu()
    time.sleep(seconds)
    return (contender.cpu() - before) / seconds


def compare(
    contenders: Sequence[Contender], work: Callable[[int], int], rounds: int = 5
) -> dict[str, list[float]]:
    """Costs per round by name (the mean of those that share one), in turn, after one round that does not count."""
    costs: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    idle = [idle_cost(contender) for contender in contenders]
    for number in range(rounds + 1):
        found: dict[str, list[float]] = {name: [] for name in costs}
        for contender, by_the_clock in zip(contenders, idle, strict=True):
            found[contender.name].append(cost(contender, work, by_the_clock))
        if number:
            for name, values in found.items():
                costs[name].append(statistics.mean(values))
    return costs


def ratio(costs: dict[str, list[float]], other: str, ours: str = "edge") -> float:
    """Median over the rounds of what the other needs for what we need: above 1, ours is cheaper."""
    return statistics.median(o / e for o, e in zip(costs[other], costs[ours], strict=True))


def handshakes(count: int, **options: object) -> Callable[[int], int]:
    """Work: so many handshakes, every one of which must succeed and be of the kind asked for."""

    def work(port: int) -> int:
        outcome: Run = run(port, PATTERN, count=count, core=CLIENT_CORE, **options)
        if outcome.failed:
            raise RuntimeError(f"{outcome.failed} handshakes failed")
        resumed = options.get("mode") == "resume"
        if resumed and outcome.reused < 0.9 * count:
            raise RuntimeError(f"only {outcome.reused} of {count} were resumed")
        if not resumed and outcome.reused:
            raise RuntimeError(f"{outcome.reused} of {count} were resumed")
        return outcome.completed

    return work
