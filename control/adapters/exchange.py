"""One HTTP/1 request and its answer on a connection that is open, with one deadline for all of it."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import cast

LARGEST_HEAD = 8192  # bytes of status line and headers


def exchange(
    connection: socket.socket, request: bytes, *, deadline: float, largest: int
) -> tuple[int, bytes]:
    """Status and up to `largest` bytes of the body; the head alone where that is 0.

    `deadline` is a moment of `time.monotonic`, however often the other side sends a little. Raises
    OSError (TimeoutError), HTTPException and ValueError for what is no answer.
    """
    connection.settimeout(left(deadline))
    connection.sendall(request)
    received = bytearray()
    while len(received) < LARGEST_HEAD + largest and not _is_whole(received, largest):
        connection.settimeout(left(deadline))
        piece = connection.recv(4096)
        if not piece:
            break
        received += piece
    status, body = _parse(bytes(received))
    return status, body[:largest]


def left(deadline: float) -> float:
    """Seconds until then; TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no answer in time")
    return seconds


def _is_whole(received: bytearray, largest: int) -> bool:
    """Whether the head and `largest` bytes of body are here, so that the rest need not be read."""
    _, end, body = received.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= largest


def _parse(received: bytes) -> tuple[int, bytes]:
    """Status and body of an answer; HTTPException when it is none."""
    if b"\r\n\r\n" not in received:
        raise http.client.HTTPException("no HTTP answer")

    class Socket:
        """What HTTPResponse asks of a socket."""

        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(received)

    response = http.client.HTTPResponse(cast(socket.socket, Socket()))
    response.begin()
    try:
        return response.status, response.read()
    except http.client.IncompleteRead as error:
        return response.status, error.partial
