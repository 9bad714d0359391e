"""Our processes under supervisord: started one by one, restarted when they die, ended together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import cast

from supervisor.xmlrpc import SupervisorTransport

from deploy.process import NotReady, Process, wait_until


def _quoted(value: str) -> str:
    """A value as supervisord's `environment=` and `command=` lines want it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _program(process: Process) -> str:
    """One `[program:…]` section."""
    environment = ",".join(f"{name}={_quoted(value)}" for name, value in process.env.items())
    lines = [
        f"[program:{process.name}]",
        "command=" + " ".join(_quoted(str(word)) for word in process.argv),
        f"directory={process.cwd or os.getcwd()}",
        f"environment={environment}",
        f"stdout_logfile={process.log}",
        "redirect_stderr=true",
        "autostart=false",
        "autorestart=true",
        "startsecs=0",
        "stopasgroup=true",
        "killasgroup=true",
        "stopwaitsecs=8",
        "stdout_logfile_maxbytes=5MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


class Supervisor:
    """supervisord with its socket, pid file and configuration in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "supervisor.sock"
        self.configuration = directory / "supervisord.conf"

    @property
    def _server(self) -> xmlrpc.client.ServerProxy:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    @property
    def running(self) -> bool:
        """Whether a supervisord answers on the socket."""
        try:
            self._server.supervisor.getState()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def launch(self) -> None:
        """Start supervisord as a daemon that has let go of our terminal; no program runs yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.configuration.touch(mode=0o600)
        self.configuration.write_text(
            f"[unix_http_server]\nfile={self.socket}\nchmod=0700\n\n"
            f"[supervisord]\nlogfile={self.directory}/supervisord.log\n"
            f"pidfile={self.directory}/supervisord.pid\nchildlogdir={self.directory}\n"
            + ("user=root\n" if os.geteuid() == 0 else "")
            + "\n[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n\n"
            f"[include]\nfiles={self.directory}/programs/*.conf\n"
        )
        programs = self.directory / "programs"
        programs.mkdir(exist_ok=True)
        for old in programs.glob("*.conf"):
            old.unlink()
        subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: self.running, 10, "supervisord does not answer")

    def start(self, process: Process, seconds: float = 60) -> None:
        """Start one process and wait until it is ready; NotReady carries the end of its log."""
        process.log.parent.mkdir(parents=True, exist_ok=True)
        section = self.directory / "programs" / f"{process.name}.conf"
        section.touch(mode=0o600)
        section.write_text(_program(process))
        self._server.supervisor.reloadConfig()
        with contextlib.suppress(xmlrpc.client.Fault):
            self._server.supervisor.addProcessGroup(process.name)
        self._server.supervisor.startProcess(process.name)
        try:
            wait_until(process.ready, seconds, f"{process.name} is not ready")
        except NotReady as problem:
            raise NotReady(f"{problem}\n{process.tail()}") from None

    def states(self) -> dict[str, str]:
        """Process name → supervisord's word for its state, e.g. `RUNNING`, `FATAL`."""
        infos = cast(list[dict[str, object]], self._server.supervisor.getAllProcessInfo())
        return {str(info["name"]): str(info["statename"]) for info in infos}

    def shutdown(self, seconds: float = 40) -> None:
        """End every process and supervisord itself; harmless when it does not run."""
        if not self.running:
            return
        pid = int((self.directory / "supervisord.pid").read_text())
        self._server.supervisor.shutdown()
        deadline = time.monotonic() + seconds
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
