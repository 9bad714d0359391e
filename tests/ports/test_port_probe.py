"""The probe of port 80: to the resolved address itself, never private, never long, never elsewhere."""

from __future__ import annotations

import socketserver
import time

import pytest

from control.adapters.dns_resolver import PortProbe
from control.addresses import is_public
from control.ports import Challenge, PortError
from deploy.process import free_port
from tests.fakes.listener import listener
from tests.fakes.port80 import PREFIX, Port80


def test_it_asks_the_address_by_name() -> None:
    web = Port80()
    web.publish(Challenge("mail.acme.test", "", "t" * 20, "t.thumb"))
    path = PREFIX + "t" * 20
    answer = PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", web.port, path)
    web.close()
    assert (answer.address, answer.status, answer.body) == ("127.0.0.1", 200, b"t.thumb")
    assert web.asked == [("mail.acme.test", path)]


def test_nothing_there_is_unreachable() -> None:
    with pytest.raises(PortError) as caught:
        PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", free_port(), "/")
    assert (caught.value.reason, "Connection refused" in caught.value.detail) == (
        "port80_unreachable",
        True,
    )


def test_a_redirect_is_told_and_not_followed() -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n")

    with listener(talk) as port:
        answer = PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", port, "/")
    assert answer.status == 302


def test_four_kilobytes_at_most() -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.wfile.write(b"x" * 65536)

    with listener(talk) as port:
        answer = PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", port, "/")
    assert len(answer.body) == 4096


def test_a_head_without_an_end_is_not_read_for_ever() -> None:
    sent = []

    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            client.wfile.write(b"x" * 65536)
            sent.append(65536)

    with listener(talk) as port, pytest.raises(PortError):
        PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", port, "/")
    assert sum(sent) < 20_000_000, "more than the socket's buffers hold"


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_answer_that_drips_is_given_up(first: bytes) -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(first)
        while True:
            client.wfile.write(b"x")
            time.sleep(0.02)

    with listener(talk) as port, pytest.raises(PortError) as caught:
        PortProbe(allow_private=True, seconds=0.2).get("mail.acme.test", "127.0.0.1", port, "/")
    assert caught.value.detail.endswith("no answer in time")


def test_what_is_not_http_is_unreachable() -> None:
    with (
        listener(lambda client: client.wfile.write(b"SSH-2.0-OpenSSH\r\n")) as port,
        pytest.raises(PortError) as caught,
    ):
        PortProbe(allow_private=True).get("mail.acme.test", "127.0.0.1", port, "/")
    assert caught.value.reason == "port80_unreachable"


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_nothing_private_is_connected_to(address: str) -> None:
    with pytest.raises(PortError) as caught:
        PortProbe().get("mail.acme.test", address, free_port(), "/")
    assert caught.value.reason == "address_private"


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
