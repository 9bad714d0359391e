"""An edge that finds its Redis by Sentinel goes on after a failover; users and passwords; unix sockets."""

import pytest
import redis

from deploy import services
from deploy.process import free_port
from tests.edge import outages
from tests.edge.conftest import A
from tests.edge.publisher import Publisher
from tests.edge.sentinel import Watched
from tests.edge.visitor import eventually


@pytest.fixture
def watched(tmp_path):
    found = Watched(tmp_path)
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
