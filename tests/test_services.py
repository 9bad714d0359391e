"""The services that every other test stands on start, answer, and end."""

import socket

from deploy.process import PORTS, free_port


def test_redis_answers(redis_server):
    assert redis_server.client.ping()


def test_pebble_hands_out_its_root(pebble):
    assert pebble.root().startswith(b"-----BEGIN CERTIFICATE-----")
    pebble.dns("add-a", host="x.example.", addresses=["127.0.0.9"])


def test_no_port_is_handed_out_twice_nor_one_that_is_taken():
    taken = set()
    for _ in range(1000):
        listener = socket.create_server(("127.0.0.1", free_port()))
        with listener:
            taken.add(listener.getsockname()[1])
    assert len(taken) == 1000

    following = PORTS[(PORTS.index(free_port()) + 1) % len(PORTS)]
    with socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", following))
        assert free_port() != following


def test_ports_are_out_of_reach_of_outgoing_connections():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as lent:
        lowest, highest = map(int, lent.read().split())
    assert not set(range(lowest, highest + 1)) & set(PORTS)
