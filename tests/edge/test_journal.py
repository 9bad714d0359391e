"""What the edge writes down: each change of state once, both ways, and its own mistakes."""

from tests.edge.conftest import A, B
from tests.edge.spoilt import spoilt
from tests.edge.visitor import eventually


def test_a_mistake_in_a_handshake_is_counted_and_in_the_log(edges, tmp_path):
    line = "function _M.find(name)\n"
    stumbling = line + f'  if name == "{B}" then\n    error("stumbled over a stone")\n  end\n'
    edge = edges.make(lua=spoilt(tmp_path, "hosts", line, stumbling))
    edge.publisher.publish(B)
    edge.settle(edge.publisher.publish(A))
    assert edge.refuses(B)
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    eventually(lambda: edge.metric('edge_errors_total{where="client_hello"}') == 1)
    eventually(lambda: "stumbled over a stone" in edge.log())


def test_a_mistake_in_a_request_is_in_the_log(edges, tmp_path):
    line = '  local text, host = file("index.html"), record()\n'
    edge = edges.make(lua=spoilt(tmp_path, "branding", line, '  error("no page today")\n' + line))
    edge.settle(edge.publisher.publish(A))
    assert edge.get(A, "/").status == 500
    eventually(lambda: "no page today" in edge.log())
    eventually(lambda: edge.metric('edge_errors_total{where="branding"}') == 1)


def test_a_mistake_in_the_gate_lets_nobody_in_and_is_in_the_log(edges, tmp_path):
    line = "  local entry = find(var.host)\n"
    edge = edges.make(lua=spoilt(tmp_path, "gate", line, line + '  error("the gate is stuck")\n'))
    edge.settle(edge.publisher.publish(A))
    for path in ("/api/v2/x", "/api/o/token/", "/assets/app.js", "/"):
        assert edge.get(A, path).status == 500
    eventually(lambda: "gate stumbled: " in edge.log() and "the gate is stuck" in edge.log())
    eventually(lambda: edge.metric('edge_errors_total{where="gate"}') == 4)


def test_a_host_without_certificate_is_written_down_once_and_once_when_it_has_one(edges):
    edge = edges.make(workers="1")
    edge.settle(edge.publisher.publish(A, with_certificate=False))
    for _ in range(3):
        assert edge.refuses(A)
    eventually(lambda: f"no certificate for {A}: it has no certificate" in edge.log())
    edge.settle(edge.publisher.publish(A))
    assert edge.serves(A)
    eventually(lambda: f"no certificate for {A}: well again" in edge.log())
    assert edge.log().count(f"no certificate for {A}") == 2


def test_a_change_that_the_cap_left_out_is_said_later(edges):
    edge = edges.make(workers="1", log_lines="1")
    edge.settle(edge.publisher.publish(A, with_certificate=False))
    edge.settle(edge.publisher.publish(B, with_certificate=False))
    for _ in range(5):
        assert edge.refuses(A)
        assert edge.refuses(B)
    eventually(lambda: edge.refuses(B) and f"no certificate for {B}" in edge.log())
    eventually(lambda: edge.refuses(A) and f"no certificate for {A}" in edge.log())


def test_a_heartbeat_that_redis_does_not_take_is_written_down_and_once_when_it_does(edges):
    edge = edges.make()
    edge.settle(edge.publisher.publish(A))
    edge.redis.replicaof("127.0.0.1", "1")
    eventually(lambda: "heartbeat: READONLY" in edge.log(), seconds=15)
    edge.redis.replicaof("NO", "ONE")
    eventually(lambda: "heartbeat: well again" in edge.log(), seconds=15)
    assert edge.log().count("edge: heartbeat: ") == 2


def test_two_edges_of_one_name_notice_it_and_a_restarted_one_is_no_twin(edges):
    first, told = edges.make(), "another edge has it too"
    first.settle(first.publisher.publish(A))
    first.stop()
    first.start()
    first.settle(first.publisher.publish(A))
    eventually(lambda: first.redis.hget(f"vh:edge:{first.env['EDGE_ID']}", "rev") == "2")
    first.redis.client_kill_filter(_type="pubsub")
    eventually(lambda: "redis: closed" in first.log())  # (1) what came before is in the log, too
    assert told not in first.log()
    assert first.metric("edge_id_shared") == 0
    where = {"id": first.env["EDGE_ID"], "heartbeat_redis_url": first.env["EDGE_REDIS_URL"]}
    second = edges.make(**where)
    eventually(lambda: first.metric("edge_id_shared") == 1, seconds=15)
    eventually(lambda: second.metric("edge_id_shared") == 1, seconds=15)
    eventually(lambda: told in first.log())
    second.stop()
    for _ in range(2):
        first.settle(first.publisher.publish(A))
    eventually(lambda: first.metric("edge_id_shared") == 0, seconds=15)
