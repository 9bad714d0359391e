"""What a visitor's handshake gets: one TLS connection with a name, nothing verified, nothing kept."""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import suppress

SECONDS = 3.0


class Handshakes:
    """Looks at the certificate that an address serves under a name."""

    def certificate(self, hostname: str, address: str, port: int) -> str:
        """Hex SHA-256 of the leaf; ConnectionError in words when there is no handshake."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection((address, port), SECONDS) as connection,
                context.wrap_socket(connection, server_hostname=hostname) as secured,
            ):
                leaf = secured.getpeercert(binary_form=True)
                with suppress(OSError):
                    secured.unwrap()
        except ssl.SSLError as problem:
            raise ConnectionError(f"refuses the handshake ({problem.reason})") from problem
        except OSError as problem:
            raise ConnectionError(f"does not answer ({problem.strerror or problem})") from problem
        return hashlib.sha256(leaf or b"").hexdigest()
