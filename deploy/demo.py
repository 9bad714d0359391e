"""`make demo`: everything on loopback, two tenants brought online through Modoboa, and where to look."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.onboarding import onboard, served
from deploy.process import NotReady, listening
from deploy.stack import PRIMARY, Ports, Stack
from deploy.supervision import Supervisor

VAR = Path(__file__).resolve().parent.parent / "var"


class Progress:
    """One line a step, with the seconds it took."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)


def taken(ports: Ports) -> list[str]:
    """One sentence for each port that another program listens on."""
    return [
        f"Port {port} is taken by another program: end it, or set {name} to a free port."
        for name, port in ports.named().items()
        if listening(port)
    ]


def write_environment(stack: Stack) -> Path:
    """`var/demo.env`: what a script needs, one NAME=value a line."""
    ports = stack.ports
    values = {
        "CONTROL_URL": stack.control_url,
        "CONTROL_TOKEN": stack.control_token,
        "EDGE_HTTPS": f"https://127.0.0.1:{ports.edge_https}",
        "EDGE_HTTP": f"http://127.0.0.1:{ports.edge_http}",
        "CA_BUNDLE": stack.ca_bundle,
        "MODOBOA_PRIMARY": PRIMARY,
        "NGINX_PID": stack.nginx_pid,
        **stack.control_env,
    }
    path = VAR / "demo.env"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return path


def where_to_look(stack: Stack) -> str:
    """The lines a person types next."""
    https = stack.ports.edge_https
    return f"""
Everything runs on loopback; hostnames are told to the client, so nothing is written to /etc/hosts.

  curl --cacert {stack.ca_bundle} --connect-to ::127.0.0.1:{https} https://mail.acme.test/accounts/login/

  chromium --user-data-dir=/tmp/modoboa-edge-demo --ignore-certificate-errors \\
    --host-resolver-rules="MAP *.test 127.0.0.1:{https}" https://mail.acme.test/
    (as root add --no-sandbox)

  hostname            people                                              password
  {PRIMARY}  admin                                               password
  mail.acme.test      alice@acme.test (bob is told that he may not)       Passw0rd!demo
  mail.globex.test    bob@globex.test                                     Passw0rd!demo

  REST API      {stack.control_url}/api/v1/docs    token: CONTROL_TOKEN in {VAR}/demo.env
  Redis         redis-cli -p {stack.ports.redis} hgetall vh:host:mail.acme.test
  edgectl       set -a; . {VAR}/demo.env; set +a; .venv/bin/edgectl explain mail.acme.test
  logs          {stack.logs}/   processes: .venv/bin/supervisorctl -c {VAR}/run/supervisord.conf status
"""


def bring_up(stack: Stack, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """Start every process, onboard both tenants, and wait until their certificates are on the wire."""
    supervisor.launch()
    stack.bring_up(supervisor.start, say)
    write_environment(stack)
    onboard(stack, say)


def start(detach: bool) -> int:
    """Bring the demo up, or find it running; stay in the foreground unless `detach`."""
    say = Progress()
    stack = Stack(VAR, Ports.from_environment())
    supervisor = Supervisor(VAR / "run")
    if supervisor.running:
        say("The demo runs already.")
        stack.resume()
    else:
        if problems := taken(stack.ports):
            print("\n".join(problems), file=sys.stderr)
            return 1
        try:
            bring_up(stack, supervisor, say)
        except (NotReady, RuntimeError, OSError) as problem:
            print(f"\nThe demo did not start: {problem}\n\nLogs: {stack.logs}", file=sys.stderr)
            supervisor.shutdown()
            return 1
        except KeyboardInterrupt:
            supervisor.shutdown()
            return 130
    print(where_to_look(stack))
    say(served(stack, PRIMARY))
    print(f"READY https://{PRIMARY}/", flush=True)
    if not detach:
        stay(supervisor)
    return 0


def stay(supervisor: Supervisor) -> None:
    """Wait for Ctrl-C (or SIGTERM), then end everything."""
    print("Ctrl-C ends it.", flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1) and supervisor.running:
        pass
    print("Stopping.", flush=True)
    supervisor.shutdown()


def stop() -> int:
    """End a detached demo."""
    supervisor = Supervisor(VAR / "run")
    if not supervisor.running:
        print("The demo does not run.")
        return 0
    supervisor.shutdown()
    print("The demo has ended; its data stays in var/ (remove var/ to begin anew).")
    return 0


def main() -> int:
    """`python -m deploy.demo start [--detach] | stop`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="bring everything up")
    starting.add_argument("--detach", action="store_true", help="return after READY")
    commands.add_parser("stop", help="end a detached demo")
    options = parser.parse_args()
    return start(options.detach) if options.command == "start" else stop()


if __name__ == "__main__":
    sys.exit(main())
