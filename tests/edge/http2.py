"""As much HTTP/2 (RFC 9113) as it takes to ask exactly what one wants: any pseudo-header, any second Host."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.edge.visitor import Answer, Visit

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def _literal(name: str, value: str) -> bytes:
    """A header field without indexing, without Huffman (RFC 7541 §6.2.2)."""
    parts = [bytes([len(t)]) + t.encode() if len(t) < 127 else _long(t) for t in (name, value)]
    return b"\0" + b"".join(parts)


def _long(text: str) -> bytes:
    rest, encoded = len(text) - 127, [127]
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*encoded, rest]) + text.encode()


def _status(block: bytes) -> int:
    """`:status`, which nginx sends first: indexed, or literal without Huffman."""
    while block[0] & 0xE0 == 0x20:  # dynamic table size update
        block = block[1:]
    if block[0] & 0x80:
        return STATIC_STATUS[block[0] & 0x7F]
    return int(block[2:5])


def opening(path: str, authority: str) -> bytes:
    """What a client says first: preface, empty SETTINGS, one GET."""
    fields = {":method": "GET", ":scheme": "https", ":path": path, ":authority": authority}
    block = b"".join(_literal(name, value) for name, value in fields.items())
    return PREFACE + _frame(SETTINGS, 0, 0) + _frame(HEADERS, 0x5, 1, block)


@dataclass
class Conversation:
    """Streams one after another on one connection."""

    visit: Visit
    next_stream: int = 1
    data: bytes = b""

    def __post_init__(self) -> None:
        """Preface and empty SETTINGS."""
        self.visit.send(PREFACE + _frame(SETTINGS, 0, 0))

    def get(
        self,
        path: str = "/api/",
        authority: str | None = None,
        hosts: tuple[str, ...] = (),
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; status 0 when the stream or the connection was refused."""
        fields = [(":method", method), (":scheme", "https"), (":path", path)]
        if authority is not None:
            fields.append((":authority", authority))
        fields += [("host", host) for host in hosts] + list((headers or {}).items())
        block = b"".join(_literal(name, value) for name, value in fields)
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.visit.send(_frame(HEADERS, 0x5, stream, block))
        return self._answer(stream)

    def _answer(self, stream: int) -> Answer:
        answer = Answer(0)
        while True:
            frame = self._frame()
            if frame is None:
                return answer
            kind, flags, of, payload = frame
            if kind == SETTINGS and not flags & 1:
                self.visit.send(_frame(SETTINGS, 1, 0))
            if kind == GOAWAY and answer.status == 0:
                return answer
            if of != stream:
                continue
            if kind == HEADERS and not answer.status:
                answer.status = _status(payload)
            if kind == DATA:
                answer.body += payload
            if kind == RST or (kind in (HEADERS, DATA) and flags & 1):
                return answer

    def _frame(self) -> tuple[int, int, int, bytes] | None:
        while len(self.data) < 9 or len(self.data) < 9 + int.from_bytes(self.data[:3], "big"):
            piece = self.visit._receive()
            if not piece:
                return None
            self.data += piece
        size = int.from_bytes(self.data[:3], "big")
        kind, flags, stream = self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big")
        payload, self.data = self.data[9 : 9 + size], self.data[9 + size :]
        return kind, flags, stream & 0x7FFFFFFF, payload
