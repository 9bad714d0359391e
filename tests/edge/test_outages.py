"""Redis goes away, comes back wrong, or empty; nginx reloads and loses workers: nobody's handshake fails."""

import datetime
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.edge import health
from tests.edge import outages
from tests.edge.conftest import A, B
from tests.edge.doors import Doors
from tests.edge.visitor import eventually


@pytest.fixture
def live(edges):
    """An edge of this test's own with two live hosts."""
    edge = edges.make()
    edge.publisher.publish(A)
    edge.settle(edge.publisher.publish(B))
    assert edge.serves(A)
    assert edge.serves(B)
    yield edge
    edge.stop()


@pytest.mark.parametrize("fault", [outages.killed, outages.stopped, outages.emptied])
def test_no_handshake_fails_while_redis_is_away(live, fault):
    with outages.UnderLoad(live) as load:
        live.publisher.leaves.pop(B)
        fault(live, 2.5)
        outages.deleted_meanwhile(live, B, fault)
    run = load.result()
    assert run.failed == 0
    assert run.completed > 50
    eventually(lambda: outages.alarm(live) is None)


def test_a_certificate_that_ends_while_redis_is_away_is_served_on(edges):
    edge = edges.make()
    until = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(
        seconds=4
    )
    leaf = edge.publisher.authority.leaf(A, not_after=until)
    edge.settle(edge.publisher.publish(A, leaf=leaf))
    doors = Doors(edge.https, edge.workers(), 2)
    parsed, other = edge.workers()
    with doors.through(parsed, A) as visit:
        assert visit.sha256 == leaf.sha256
    edge.redis_process.kill()
    while time.time() <= until.timestamp() + 1:
        time.sleep(0.1)
    for pid in (parsed, other):  # (1) one has it parsed, the other finds it in shared memory
        with doors.through(pid, A) as visit:
            assert visit.sha256 == leaf.sha256
            assert visit.get("/api/", A).status == 200
    assert 0 < edge.metric("edge_min_not_after_seconds") < time.time()


def test_an_old_dump_is_not_believed_and_brings_no_deleted_host_back(live):
    gone = "gone.acme.test"
    live.settle(live.publisher.publish(gone))
    live.publisher.leaves.pop(gone)
    old = outages.dump(live)
    live.settle(live.publisher.withdraw(gone))
    newer = live.publisher.authority.leaf(A)
    live.settle(live.publisher.publish(A, leaf=newer))
    with outages.UnderLoad(live) as load:
        outages.restore(live, old)
        eventually(lambda: outages.alarm(live) == "rewound")
        assert live.serves(A) == newer.sha256
        assert live.refuses(gone)
        live.redis.set("vh:rev", 1000)
        live.publisher.publish(B)
        eventually(lambda: outages.alarm(live) is None)
        assert live.refuses(gone)
        assert live.serves(A) == newer.sha256
    assert load.result().failed == 0


def test_a_wrong_database_is_an_empty_redis_and_not_the_end_of_every_host(live):
    live.redis.swapdb(0, 5)
    eventually(lambda: outages.alarm(live) == "empty")
    time.sleep(1.2)
    assert live.serves(A)
    assert live.serves(B)
    live.redis.swapdb(0, 5)
    eventually(lambda: outages.alarm(live) is None)


def test_a_rebuilt_but_empty_data_set_is_not_believed(live):
    live.redis.flushall()
    live.publisher.begin("e-empty")
    eventually(lambda: outages.alarm(live) == "emptied")
    assert live.serves(A)
    assert live.serves(B)


def test_absence_counts_in_a_complete_new_epoch_only(live):
    leaf = live.publisher.leaves[A]
    live.redis.flushall()
    live.publisher.begin("e2", complete=False)
    live.redis.set("vh:rev", 500)
    live.publisher.publish(A, leaf=leaf)
    eventually(lambda: outages.alarm(live) == "rebuilding")
    assert live.serves(B)
    live.publisher.complete()
    eventually(lambda: live.refuses(B))
    assert live.serves(A) == leaf.sha256
    eventually(lambda: outages.alarm(live) is None)


@pytest.mark.parametrize("more", [0, 70], ids=["few hosts", "many hosts"])
def test_a_complete_new_data_set_of_lower_revisions_is_taken_as_it_is(live, more):
    for _ in range(100):
        revision = live.publisher.publish(
            "often.acme.test", state="pending", with_certificate=False
        )
    live.settle(revision)
    live.redis.flushall()
    live.publisher.begin("e2", complete=False)
    leaf = live.publisher.authority.leaf(A)
    live.publisher.publish(A, leaf=leaf)
    for number in range(more):
        live.publisher.publish(f"n{number}.acme.test", with_certificate=False)
    live.publisher.publish(B, state="disabled", generation=2)
    assert live.serves(B)
    live.publisher.complete()
    eventually(lambda: live.refuses(B))
    eventually(lambda: {live.serves(A) for _ in range(4)} == {leaf.sha256})
    eventually(lambda: outages.alarm(live) is None)
    newer = live.publisher.authority.leaf(A)
    live.settle(live.publisher.publish(A, leaf=newer))
    eventually(lambda: {live.serves(A) for _ in range(4)} == {newer.sha256})
    assert live.status(f"/hosts/{B}").body.find(b'"disabled"') > 0


def test_an_edge_away_below_the_floor_compares_the_whole_index(live):
    live.redis_process.signal(signal.SIGSTOP)
    live.redis_process.signal(signal.SIGCONT)
    for pid in live.workers():
        os.kill(pid, signal.SIGSTOP)
    live.publisher.withdraw(B)
    revision = int(live.redis.get("vh:rev"))
    live.redis.zrem("vh:hosts", B)
    live.redis.delete(f"vh:host:{B}")
    live.redis.set("vh:floor", revision)
    live.publisher.publish("later.acme.test")
    for pid in live.workers():
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: live.refuses(B))
    assert live.serves("later.acme.test")


def test_reloads_lose_no_handshake_and_no_host(live):
    with outages.UnderLoad(live) as load:
        for _ in range(4):
            live.reload()
            time.sleep(0.4)
    assert load.result().failed == 0
    live.settle(live.publisher.publish("after-reload.acme.test"))
    assert live.serves("after-reload.acme.test")


def test_when_the_syncer_dies_another_worker_takes_over(live):
    for number in range(3):
        for pid in live.workers():
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        name = f"n{number}.acme.test"
        live.settle(live.publisher.publish(name))
        assert live.serves(name)
    assert live.serves(A) == live.publisher.leaves[A].sha256


def test_what_is_refused_is_not_forgotten_when_the_syncer_dies(live):
    bad, key = "bad.acme.test", f"vh:edge:{live.env['EDGE_ID']}"
    with live.redis.pipeline() as pipeline:
        record = {"rev": 100, "state": "active", "generation": 1, "cert": "ab" * 32}
        pipeline.hset(f"vh:host:{bad}", mapping=record)
        pipeline.zadd("vh:hosts", {bad: 100})
        pipeline.set("vh:rev", 100)
        pipeline.execute()
    eventually(lambda: live.redis.hget(key, "refused") == bad)
    first = health(live.status_port)["syncer"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: health(live.status_port)["syncer"] not in (first, None))
    for number in range(3):
        live.settle(live.publisher.publish(f"n{number}.acme.test"))
        assert eventually(lambda: live.redis.hget(key, "refused")) == bad
    live.settle(live.publisher.publish(bad))
    eventually(lambda: live.redis.hget(key, "refused") == "")


def test_a_cold_start_without_redis_serves_as_soon_as_redis_is_back(edges):
    edge = edges.make(start=False)
    edge.publisher.publish(A)
    saved = outages.dump(edge)
    edge.redis_process.kill()
    edge.start()
    assert edge.refuses(A)
    outages.restore(edge, saved)
    eventually(lambda: edge.serves(A) == edge.publisher.leaves[A].sha256)


def test_while_the_index_is_incomplete_the_certificate_hook_decides(edges):
    edge = edges.make(start=False, begin=False)
    edge.publisher.begin(complete=False)
    edge.publisher.publish(A)
    edge.publisher.publish("off.acme.test", state="disabled")
    edge.start()
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    assert edge.refuses("off.acme.test")
    assert edge.refuses("nobody.test")
    assert edge.get(A).status == 200
    edge.settle(2)
    assert edge.metric("edge_index_complete") == 0
    edge.publisher.complete()
    eventually(lambda: edge.metric("edge_index_complete") == 1)
    assert edge.serves(A) == edge.publisher.leaves[A].sha256


def asked_early(edges, ask, state):
    """An edge, the hosts' leaf, and what `ask` (a method) answers for 120 hosts before and after the index is there."""
    edge = edges.make(start=False, workers="1")
    leaf = edge.publisher.authority.leaf("*.early.test")
    names = [f"n{number}.early.test" for number in range(120)]
    for name in names:
        edge.publisher.publish(name, leaf=leaf, state=state)
    edge.redis.rename("vh:hosts", "elsewhere")
    edge.redis.set("vh:hosts", "unreadable")
    edge.start()
    with ThreadPoolExecutor(len(names)) as pool:
        answers = [pool.submit(getattr(edge, ask), name) for name in names]
        eventually(lambda: sum(one.done() for one in answers) >= 50)
        edge.redis.rename("elsewhere", "vh:hosts")
        return edge, leaf, {one.result() for one in answers}


def test_more_live_hosts_than_may_be_asked_for_wait_for_the_index(edges):
    _, leaf, shown = asked_early(edges, "serves", "active")
    assert shown == {leaf.sha256}


def test_a_disabled_host_that_waited_for_the_index_is_refused(edges):
    edge, _, refused = asked_early(edges, "refuses", "disabled")
    assert refused == {True}
    eventually(lambda: edge.metric("edge_index_complete") == 1)
    assert edge.metric('edge_handshakes_total{result="served"}') == 0


def test_200_at_once_for_one_cold_host_cost_one_read(edges):
    from tests.bench.client import run

    edge = edges.make(start=False, workers="4", certificate_memory="8")
    for number in range(70):
        edge.publisher.publish(f"h{number}.acme.test", leaf=None, with_certificate=number > 60)
    edge.start()
    name = "h65.acme.test"
    eventually(lambda: edge.status(f"/hosts/{name}").status == 200)
    calls = lambda: {  # noqa: E731
        name.removeprefix("cmdstat_"): stat["calls"]
        for name, stat in edge.redis.info("commandstats").items()
    }
    before = calls()
    outcome = run(edge.https, name, count=200, threads=200)
    assert (outcome.completed, outcome.failed) == (200, 0)
    after = calls()
    polls = after["zrange"] - before["zrange"]
    read = after["hmget"] - before["hmget"] - polls
    assert read == 2, "one for the record, one for the certificate, in one round trip"


def test_a_full_shared_memory_is_loud_and_every_host_is_served_all_the_same(edges):
    edge = edges.make(certificate_memory="1")
    leaf = edge.publisher.authority.leaf("*.full.test")
    names = [f"g{number}.full.test" for number in range(1500)]
    for number, name in enumerate(names, 1):
        revision = edge.publisher.publish(name, leaf=leaf)
        if number % 50 == 0:  # (1) of a larger batch only the index is taken
            edge.settle(revision)
    for name in names[:20] + names[-40:]:
        assert edge.serves(name) == leaf.sha256
        assert edge.get(name).status == 200
    eventually(lambda: edge.metric("edge_memory_full_total") > 0)
    eventually(lambda: "raise EDGE_CERTIFICATE_MEMORY" in edge.log())


def publish_many(edge, start, end):
    """Pending hosts at once, `s00000.spill.test` and on."""
    with edge.redis.pipeline(transaction=False) as pipeline:
        for count in range(start, end):
            name = f"s{count:05d}.spill.test"
            pipeline.hset(f"vh:host:{name}", mapping={"rev": count + 1, "state": "pending"})
            pipeline.zadd("vh:hosts", {name: count + 1})
        pipeline.set("vh:rev", end)
        pipeline.publish("vh:changed", end)
        pipeline.execute()


def test_a_host_without_room_in_any_memory_is_reported_and_comes_when_there_is_room(edges):
    edge = edges.make(start=False, index_memory="1", certificate_memory="1")
    key, number = f"vh:edge:{edge.env['EDGE_ID']}", 12000
    publish_many(edge, 0, number)
    edge.start()
    edge.settle(number)
    while edge.metric("edge_refused_publishes") == 0:
        publish_many(edge, number, number + 100)
        number += 100
        edge.settle(number)
    eventually(lambda: "a host is not served" in edge.log())
    left = eventually(lambda: edge.redis.hget(key, "refused")).split()[0]
    assert edge.status(f"/hosts/{left}").status == 404
    time.sleep(3.2)
    assert left in edge.redis.hget(key, "refused").split(), "still, after being asked for again"
    edge.redis.zrem("vh:hosts", *(f"s{count:05d}.spill.test" for count in range(10000)))
    edge.redis.set("vh:epoch", "e-smaller")
    edge.publisher.complete()
    eventually(lambda: edge.status(f"/hosts/{left}").status == 200, seconds=20)
    eventually(lambda: edge.redis.hget(key, "refused") == "", seconds=20)


def test_hosts_that_do_not_fit_the_index_are_served_and_it_is_loud(edges):
    edge = edges.make(start=False, index_memory="1", certificate_memory="8")
    publish_many(edge, 0, 9000)
    edge.publisher.complete()
    edge.start()
    eventually(lambda: edge.applied(9000), seconds=20)
    late = edge.publisher.authority.leaf("*.spill.test")
    edge.settle(edge.publisher.publish("late.spill.test", leaf=late))
    assert edge.serves("late.spill.test") == late.sha256
    assert edge.get("late.spill.test").status == 200
    assert edge.metric("edge_hosts") == 9001
    assert edge.metric("edge_index_spilled_hosts") > 0
    assert edge.status("/hosts/s08999.spill.test").status == 200
    eventually(lambda: "raise EDGE_INDEX_MEMORY" in edge.log())
    edge.settle(edge.publisher.withdraw("late.spill.test"))
    assert edge.refuses("late.spill.test")
    edge.redis.flushall()
    edge.publisher.begin("e-other", complete=False)
    edge.redis.set("vh:rev", 20000)
    leaf = edge.publisher.authority.leaf(A)
    edge.publisher.publish(A, leaf=leaf)
    edge.publisher.complete()
    eventually(lambda: edge.metric("edge_hosts") == 1, seconds=10)
    assert edge.metric("edge_index_spilled_hosts") <= 1
    assert edge.serves(A) == leaf.sha256


def test_two_certificates_that_alternate_are_always_one_of_the_two(live):
    import threading

    leaves = [live.publisher.authority.leaf(A) for _ in range(2)]
    done = threading.Event()

    def alternate():
        number = 0
        while not done.wait(0.05):
            number += 1
            live.publisher.publish(A, leaf=leaves[number % 2])

    live.settle(live.publisher.publish(A, leaf=leaves[0]))
    thread = threading.Thread(target=alternate)
    thread.start()
    with outages.UnderLoad(live) as load:
        seen = {live.serves(A) for _ in range(150)}
    done.set()
    thread.join()
    assert load.result().failed == 0
    assert seen == {leaf.sha256 for leaf in leaves}


def test_a_publish_costs_one_look_and_an_old_message_none(live):
    def looks():
        return live.redis.info("commandstats")["cmdstat_zrangebyscore"]["calls"]

    def looked(deed):
        """How many looks more than the polls of a second at rest."""
        before, began = looks(), time.monotonic()
        deed()
        time.sleep(0.2)
        return looks() - before - 2 * (1 + time.monotonic() - began)

    old = int(live.redis.get("vh:rev"))
    assert looked(lambda: [live.redis.publish("vh:changed", old) for _ in range(100)]) <= 0
    settle = lambda: [live.settle(live.publisher.publish(A)) for _ in range(20)]  # noqa: E731
    assert looked(settle) <= 20


def test_four_workers_all_serve_a_new_certificate_and_parse_it_once_each(edges):
    edge = edges.make(workers="4")
    hosts, workers, revisions = (A, B, "mail.initech.test"), edge.workers(), 3
    for _ in range(revisions):
        leaves = {host: edge.publisher.authority.leaf(host) for host in hosts}
        doors = Doors(edge.https, workers, 5 * len(hosts))
        edge.settle(max(edge.publisher.publish(host, leaf=leaves[host]) for host in hosts))
        for host in hosts * 5:
            for pid in workers:
                with doors.through(pid, host) as visit:
                    assert visit.sha256 == leaves[host].sha256

    def loads():
        return sum(
            edge.metric(f'edge_certificate_loads_total{{source="{source}"}}')
            for source in ("memory", "redis")
        )

    parses = len(hosts) * len(workers) * revisions
    eventually(lambda: loads() == parses)
    eventually(lambda: edge.metric('edge_handshakes_total{result="served"}') == 5 * parses)
    assert edge.metric('edge_certificate_loads_total{source="redis"}') == 0
