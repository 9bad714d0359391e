"""An edge that finds its Redis by Sentinel goes on after a failover; users and passwords; unix sockets, IPv6, TLS."""

import contextlib
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from deploy import services
from deploy.process import Process, free_port
from tests.edge import outages
from tests.edge.conftest import A
from tests.edge.doors import not_accepted
from tests.edge.publisher import Publisher
from tests.edge.sentinel import Watched
from tests.edge.visitor import eventually


@pytest.fixture
def watched(tmp_path):
    found = Watched(tmp_path, password="pass:w@rd")
    yield found
    found.end()


def test_a_failover_loses_no_handshake_and_publishes_go_on(edges, watched):
    edge = edges.make(start=False, begin=False, redis_url=watched.url)
    publisher = Publisher(
        watched.client(watched.primary()), edge.publisher.keyring, edge.publisher.authority
    )
    publisher.begin()
    revision = publisher.publish(A)
    edge.start()
    edge.settle(revision)
    with outages.UnderLoad(edge) as load:
        publisher.redis = watched.client(watched.fail_over())
        renewed = publisher.authority.leaf(A)
        publisher.publish(A, leaf=renewed)
        eventually(lambda: edge.serves(A) == renewed.sha256, seconds=15)
        key = f"vh:edge:{edge.env['EDGE_ID']}"
        eventually(
            lambda: publisher.redis.hget(key, "rev") == publisher.redis.get("vh:rev"), seconds=15
        )
    assert load.result().failed == 0


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_user_with_a_password_and_a_database_of_its_own(edges, tmp_path, kind):
    port, socket = free_port(), tmp_path / "redis.sock"
    process = services.redis_server(tmp_path / "redis", port)
    process.argv = [*process.argv, "--unixsocket", str(socket), "--unixsocketperm", "777"]
    process.start()
    try:
        client = redis.Redis(port=port, db=3, decode_responses=True)
        client.execute_command(
            "ACL", "SETUSER", "edge", "on", ">pass:w@rd", "resetchannels", "&vh:changed",
            "%R~vh:*", "%RW~vh:edge:*", "+@read", "+hset", "+expire", "+subscribe", "+select", "+ping",
        )  # fmt: skip
        url = {
            "tcp": f"redis://edge:pass%3Aw%40rd@127.0.0.1:{port}/3",
            "unix": f"unix://{socket}?db=3&username=edge&password=pass%3Aw%40rd",
        }[kind]
        edge = edges.make(start=False, begin=False, redis_url=url)
        publisher = Publisher(client, edge.publisher.keyring, edge.publisher.authority)
        publisher.begin()
        revision = publisher.publish(A)
        edge.start()
        edge.settle(revision)
        assert edge.serves(A) == publisher.leaves[A].sha256
        eventually(lambda: client.hget(f"vh:edge:{edge.env['EDGE_ID']}", "rev") == str(revision))
        assert "pass:w@rd" not in edge.log()
    finally:
        process.kill()


@pytest.fixture
def started():
    """Start a Process that ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(process):
            stack.callback(process.kill)
            return process.start()

        yield start


def follower(edges, url, client, **settings):
    """An edge that is given this URL, has applied what was published to `client`, and beats there; the publisher."""
    edge = edges.make(start=False, begin=False, redis_url=url, **settings)
    publisher = Publisher(client, edge.publisher.keyring, edge.publisher.authority)
    publisher.begin()
    revision = publisher.publish(A)
    edge.start()
    edge.settle(revision)
    eventually(lambda: client.hget(f"vh:edge:{edge.env['EDGE_ID']}", "rev") == str(revision))
    return edge, publisher


def follows(edges, url, client, **settings):
    """Whether an edge that is given this URL serves what `client` publishes."""
    edge, publisher = follower(edges, url, client, **settings)
    return edge.serves(A) == publisher.leaves[A].sha256


@pytest.mark.parametrize("way", ["direct", "sentinel"])
def test_redis_at_an_ipv6_address(edges, started, tmp_path, way):
    port, knowing = free_port(), free_port()
    process = services.redis_server(tmp_path / "redis", port)
    process.argv = [*process.argv, "--bind", "127.0.0.1", "::1"]
    started(process)
    urls = {
        "direct": f"redis://[::1]:{port}/0",
        "sentinel": f"redis+sentinel://[::1]:{knowing}/edge",
    }
    if way == "sentinel":
        watching = f"sentinel monitor edge ::1 {port} 1"
        started(sentinel(tmp_path / "sentinel", knowing, watching, address="::1"))
    assert follows(edges, urls[way], redis.Redis(port=port, decode_responses=True))


def sentinel(directory, port, watching="", address="127.0.0.1"):
    """A sentinel that knows what `watching` says; no service at all without."""
    directory.mkdir()
    file = directory / "sentinel.conf"
    file.write_text(f"port {port}\nbind {address}\n{watching}\n")
    argv = ["redis-sentinel", str(file)]
    return Process("sentinel", argv, directory / "log", lambda: accepts(address, port))


def accepts(address, port):
    """Whether something accepts connections on `port` of an address."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def test_of_several_sentinels_the_one_that_knows_is_asked_first_from_then_on(
    edges, started, tmp_path
):
    port, ignorant, knowing = free_port(), free_port(), free_port()
    started(services.redis_server(tmp_path / "redis", port))
    started(sentinel(tmp_path / "ignorant", ignorant))
    started(sentinel(tmp_path / "knowing", knowing, f"sentinel monitor edge 127.0.0.1 {port} 1"))
    client = redis.Redis(port=port, decode_responses=True)
    silent = free_port()
    with socket.create_server(("127.0.0.1", silent)):
        hosts = ",".join(f"127.0.0.1:{one}" for one in (silent, ignorant, knowing))
        url = f"redis+sentinel://{hosts}/edge"
        edge, publisher = follower(edges, url, client, workers="1", redis_timeout="4000")
        eventually(lambda: edge.metric("edge_syncs_total") > 0)
        assert edge.metric("edge_redis_errors_total") == 0  # (1) time was left for the others
        assert not_accepted(silent) == 2, "by the syncer and for the heartbeat"
        for _ in range(3):
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
            edge.settle(publisher.publish(A))
        assert not_accepted(silent) == 2


def test_many_who_find_a_sentinel_silent_at_once_ask_it_once_each(edges, started, tmp_path):
    port, first, second = free_port(), free_port(), free_port()
    started(services.redis_server(tmp_path / "redis", port))
    watching, processes = f"sentinel monitor edge 127.0.0.1 {port} 1", {}
    for where in (first, second):
        processes[where] = started(sentinel(tmp_path / f"at-{where}", where, watching))
    edge = edges.make(
        start=False,
        begin=False,
        workers="1",
        redis_timeout="5000",
        redis_url=f"redis+sentinel://127.0.0.1:{first},127.0.0.1:{second}/edge",
        heartbeat_redis_url=f"redis://127.0.0.1:{port}/0",
    )
    client = redis.Redis(port=port, decode_responses=True)
    publisher = Publisher(client, edge.publisher.keyring, edge.publisher.authority)
    publisher.begin()
    leaf, names = publisher.authority.leaf("*.cold.test"), [f"n{n}.cold.test" for n in range(70)]
    revisions = [publisher.publish(name, leaf=leaf) for name in names]  # (1) too many to be held
    edge.start()
    edge.settle(max(revisions))
    processes[first].signal(signal.SIGSTOP)
    visitors = names[:12]
    with ThreadPoolExecutor(len(visitors)) as pool:
        list(pool.map(edge.refuses, visitors))
    assert not_accepted(first) <= len(visitors)
    processes[first].signal(signal.SIGCONT)
    for name in visitors:
        assert eventually(lambda name=name: edge.serves(name)) == leaf.sha256


@pytest.fixture
def encrypted(started, tmp_path):
    """A Redis that speaks TLS beside plain TCP: its plain client, its TLS port, its files."""
    port, tls, files = free_port(), free_port(), services.pebble_files(tmp_path / "tls")
    process = services.redis_server(tmp_path / "redis", port)
    process.argv = [
        *process.argv, "--tls-port", str(tls), "--tls-cert-file", str(files.certificate),
        "--tls-key-file", str(files.key), "--tls-ca-cert-file", str(files.ca),
        "--tls-auth-clients", "no",
    ]  # fmt: skip
    started(process)
    return redis.Redis(port=port, decode_responses=True), tls, files


def test_redis_by_tls(edges, encrypted):
    client, port, files = encrypted
    assert follows(
        edges, f"rediss://localhost:{port}/2", client_of(client, 2), redis_ca=str(files.ca)
    )


def client_of(client, database):
    """The same Redis, another database."""
    port = client.connection_pool.connection_kwargs["port"]
    return redis.Redis(port=port, db=database, decode_responses=True)


@pytest.mark.parametrize(
    ("host", "authority"), [("localhost", "another"), ("127.0.0.1", "its own")]
)
def test_by_tls_neither_a_strange_authority_nor_another_name_is_believed(
    edges, encrypted, tmp_path, host, authority
):
    client, port, files = encrypted
    trusted = files if authority == "its own" else services.pebble_files(tmp_path / "other")
    edge = edges.make(
        start=False, begin=False, redis_url=f"rediss://{host}:{port}/0", redis_ca=str(trusted.ca)
    )
    publisher = Publisher(client, edge.publisher.keyring, edge.publisher.authority)
    publisher.begin()
    publisher.publish(A)
    edge.start()
    eventually(lambda: "redis: TLS: " in edge.log())
    assert edge.refuses(A)
