"""A small DNS server for tests: answers what a test has put into it, or fails as it is told."""

from __future__ import annotations

import socketserver
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer:
    """UDP on a free port of 127.0.0.1; `records` are keyed by (name, type), both as text."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.codes: dict[str, str] = {}
        self.silent: set[str] = set()
        self.pause = 0.0
        self.asked: list[tuple[str, str]] = []
        self.server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def add(self, name: str, kind: str, *values: str) -> None:
        """Answer these values, e.g. `add("mail.acme.test", "A", "198.51.100.4")`."""
        self.records.setdefault((name, kind), []).extend(values)

    def close(self) -> None:
        """Stop answering."""
        self.server.shutdown()
        self.server.server_close()

    def _respond(self, question: dns.message.Message) -> dns.message.Message | None:
        name = question.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        time.sleep(self.pause)
        response = dns.message.make_response(question)
        response.flags |= dns.flags.RA
        code = self.codes.get(name)
        if code:
            response.set_rcode(dns.rcode.from_text(code))
            return response
        for wanted in (kind, "CNAME"):
            if values := self.records.get((name, wanted)):
                response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", wanted, *values))
                return response
        if not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                response = outer._respond(dns.message.from_wire(data))
                if response is not None:
                    sock.sendto(response.to_wire(), self.client_address)

        return Handler
