"""A real Modoboa with the extension: deployed once by its own command, copied in a moment, run by gunicorn and RQ."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from string import Template

import requests

from deploy.process import NotReady, Process, free_port, listening
from deploy.services import redis_server

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NAME = "instance"
ANY_HOSTNAME = "mail.provider.test"

# What an administrator would write at the end of settings.py; the second part suits a machine
# without syslog and a database that several processes write to.
SETTINGS = Template("""

# ---- this installation -------------------------------------------------------------------
SECRET_KEY = $secret_key
ALLOWED_HOSTS = $allowed_hosts
REDIS_URL = $redis_url
RQ_QUEUES = {name: {"URL": REDIS_URL} for name in RQ_QUEUES}
CACHES["default"]["LOCATION"] = REDIS_URL
DISABLE_DASHBOARD_EXTERNAL_QUERIES = True
VIRTUALHOSTS = $virtualhosts

for handler in LOGGING["handlers"].values():
    if "SysLogHandler" in handler["class"]:
        handler.clear()
        handler["class"] = "logging.NullHandler"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["NAME"] = os.path.join(BASE_DIR, "modoboa.db")
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
modoboa_ext_settings.apply(globals())
""")


def run(*argv: str, cwd: Path) -> str:
    """Run a program to its end; its output. NotReady with the end of it when it fails."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    output = done.stdout + done.stderr
    if done.returncode:
        raise NotReady(f"{' '.join(argv)} failed in {cwd}\n{output[-2000:]}")
    return output


def manage(directory: Path, *words: str) -> str:
    """Run one of Modoboa's management commands in the instance at `directory`."""
    return run(sys.executable, "manage.py", *words, cwd=directory)


def fingerprint() -> str:
    """Changes whenever a template made earlier would no longer fit."""
    parts = [version("modoboa"), version("django-oauth-toolkit"), inspect.getsource(deploy)]
    migrations = sorted((ROOT / "modoboa_ext" / "migrations").glob("*.py"))
    parts += [path.name + path.read_text() for path in migrations]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def deploy(directory: Path, database_url: str | None = None) -> None:
    """Run `modoboa-admin.py deploy` with our extension into `directory` (about 15 s)."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = directory.parent / f".{directory.name}-{secrets.token_hex(4)}"
    work.mkdir()
    redis = redis_server(work, free_port()).start()
    url = f"redis://127.0.0.1:{redis.argv[redis.argv.index('--port') + 1]}/0"
    database = database_url or f"sqlite:///{work / NAME / 'modoboa.db'}"
    try:
        command = [sys.executable, str(BIN / "modoboa-admin.py"), "deploy", "--collectstatic"]
        command += ["--redisurl", url, "--dburl", f"default:{database}"]
        command += ["--domain", ANY_HOSTNAME, "--admin-username", "admin"]
        command += ["--dont-install-extensions", "--extensions", "modoboa_ext", "--", NAME]
        output = run(*command, cwd=work)
        if "failed, check your configuration" in output:
            raise NotReady(f"modoboa-admin.py deploy failed\n{output[-2000:]}")
        manage(work / NAME, "load_initial_data", "--relative-urls-in-config")
        add_cron(work / NAME)
        share_static(work / NAME)
        (work / NAME).rename(directory)
    finally:
        redis.kill()
        shutil.rmtree(work, ignore_errors=True)


def add_cron(directory: Path) -> None:
    """The one line of ours in cron_config.py."""
    cron = directory / NAME / "cron_config.py"
    cron.write_text(cron.read_text() + "\nimport modoboa_ext.cron  # noqa\n")


def share_static(directory: Path) -> None:
    """Serve the extension's built frontend from where it is built, so that no copy goes stale."""
    collected = directory / "sitestatic" / "modoboa_ext"
    shutil.rmtree(collected, ignore_errors=True)
    collected.symlink_to(ROOT / "modoboa_ext" / "static" / "modoboa_ext")


def template() -> Path:
    """A deployed instance to copy from; made when there is none that fits."""
    directory = ROOT / "var" / "modoboa-template" / fingerprint()
    if not (directory / "manage.py").exists():
        deploy(directory)
    return directory


def create_instance(
    directory: Path,
    redis_url: str,
    primary_hostname: str,
    control_url: str,
    control_token: str,
    *,
    database_url: str | None = None,
    options: dict[str, object] | None = None,
) -> Path:
    """An instance at `directory`, or the one that is there with these settings; its directory.

    SQLite unless `database_url` (dj-database-url) says otherwise. `options` are further keys of
    VIRTUALHOSTS. The super administrator is admin/password.
    """
    present = directory / "fingerprint"
    if not (directory / "manage.py").exists():
        if database_url:
            deploy(directory, database_url)
        else:
            directory.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(template(), directory, symlinks=True)
        original = directory / NAME / "settings.py"
        original.rename(original.with_suffix(".py.deployed"))
        present.write_text(fingerprint())
    virtualhosts = {
        "CONTROL_URL": control_url,
        "CONTROL_TOKEN": control_token,
        "PRIMARY_HOSTNAME": primary_hostname,
        **(options or {}),
    }
    write_settings(directory, redis_url, virtualhosts)
    if present.read_text() != fingerprint():
        manage(directory, "migrate", "--noinput")
        present.write_text(fingerprint())
    if not database_url:
        rename_site(directory / "modoboa.db", primary_hostname)
    return directory


def write_settings(directory: Path, redis_url: str, virtualhosts: dict[str, object]) -> None:
    """settings.py as `deploy` wrote it, and what an administrator adds."""
    secret = directory / "secret_key"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(48))
    added = SETTINGS.substitute(
        secret_key=repr(secret.read_text()),
        allowed_hosts=repr([virtualhosts["PRIMARY_HOSTNAME"]]),
        redis_url=repr(redis_url),
        virtualhosts=repr(virtualhosts),
    )
    settings = directory / NAME / "settings.py"
    settings.write_text(settings.with_suffix(".py.deployed").read_text() + added)


def rename_site(database: Path, hostname: str) -> None:
    """Let a copied database belong to `hostname`: the site's name and the frontend's own URLs."""
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE django_site SET domain = ?, name = ?", (hostname, hostname))
        connection.execute(
            "UPDATE oauth2_provider_application SET redirect_uris = ?, post_logout_redirect_uris = ?"
            " WHERE name = 'modoboa_frontend'",
            (f"https://{hostname}/login/logged", f"https://{hostname}"),
        )
    connection.close()


def web(directory: Path, port: int, *, workers: int = 2, threads: int = 4) -> Process:
    """Modoboa under gunicorn on `port`, plain HTTP: the edge in front of it speaks TLS."""
    argv = [str(BIN / "gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    argv += ["--threads", str(threads), "--access-logfile", "-"]
    argv += ["--no-control-socket", f"{NAME}.wsgi:application"]
    url = f"http://127.0.0.1:{port}"
    (directory / "web.json").write_text(json.dumps({"url": url}))

    def ready() -> bool:
        return listening(port) and requests.get(url, timeout=20).status_code > 0

    return Process("modoboa", argv, directory / "log" / "web.log", ready, cwd=directory)


def rqworker(directory: Path, *queues: str) -> Process:
    """The worker of Modoboa's queues; without names, of the two that run as Modoboa's own user."""
    log = directory / "log" / "rqworker.log"
    argv = [sys.executable, "-u", "manage.py", "rqworker", *(queues or ("modoboa", "dovecot"))]
    return Process("rqworker", argv, log, lambda: "istening on" in text(log), cwd=directory)


def rqcron(directory: Path) -> Process:
    """Modoboa's scheduler, which reads cron_config.py."""
    log = directory / "log" / "rqcron.log"
    argv = [sys.executable, "-u", "manage.py", "rqcron", f"{NAME}/cron_config.py"]
    return Process("rqcron", argv, log, lambda: "egistered" in text(log), cwd=directory)


def text(log: Path) -> str:
    """What a log holds so far."""
    return log.read_text(errors="replace") if log.exists() else ""


class Administrator:
    """The super administrator at a running instance's REST API (`/api/v2`), by API token."""

    def __init__(self, directory: Path) -> None:
        self.url = json.loads((directory / "web.json").read_text())["url"] + "/api/v2"
        site = (directory / NAME / "settings.py").read_text().rpartition("ALLOWED_HOSTS = ['")[2]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(
            {
                "Host": site.partition("'")[0],
                "X-Forwarded-Proto": "https",
                "Authorization": f"Token {api_token(directory)}",
            }
        )

    def call(self, method: str, path: str, **options: object) -> requests.Response:
        """One request, held back while Modoboa's throttle says so; RuntimeError when it is refused."""
        for _ in range(30):
            answer = self.session.request(method, self.url + path, timeout=60, **options)  # type: ignore[arg-type]
            if answer.status_code != 429:
                break
            time.sleep(int(answer.headers.get("Retry-After", "1")))
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer


def api_token(directory: Path) -> str:
    """The super administrator's API token, made once."""
    kept = directory / "api_token"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(manage(directory, "drf_create_token", "admin").split()[2])
    return kept.read_text()


def onboard(directory: Path, hostname: str, domain: str, user: str, password: str) -> None:
    """Through Modoboa's API: a domain linked to `hostname`, and its administrator. Repeatable."""
    api = Administrator(directory)
    rows = api.call("GET", f"/domains/?page_size=1000&search={domain}").json()["results"]
    known = {row["name"]: row for row in rows}
    fields = {"name": domain, "type": "domain", "enable_dns_checks": False}
    fields |= {"quota": 0, "default_mailbox_quota": 0, "virtual_host": hostname}
    if domain not in known:
        api.call("POST", "/domains/", json=fields)
    elif known[domain]["virtual_host"] != hostname:
        api.call("PUT", f"/domains/{known[domain]['pk']}/", json={**known[domain], **fields})
    create_account(api, user, password, "DomainAdmins")
    administer(api, user, domain)


def administer(api: Administrator, user: str, domain: str) -> None:
    """Make a person an administrator of a domain. Repeatable."""
    people = api.call("GET", f"/accounts/?search={user}").json()["results"]
    pk = next(person["pk"] for person in people if person["username"] == user)
    rows = api.call("GET", f"/domains/?search={domain}").json()["results"]
    row = next(row["pk"] for row in rows if row["name"] == domain)
    api.call("POST", f"/domains/{row}/administrators/add/", json={"account": pk})


def create_account(api: Administrator, user: str, password: str, role: str = "SimpleUsers") -> None:
    """A person with a mailbox, unless there is one already."""
    if api.call("GET", f"/accounts/exists/?email={user}").json()["exists"]:
        return
    account = {"username": user, "role": role, "password": password, "is_active": True}
    account |= {"first_name": user.split("@")[0].title(), "last_name": "", "language": "en"}
    account["mailbox"] = {"full_address": user, "use_domain_quota": True, "quota": 0}
    api.call("POST", "/accounts/", json=account)
