"""What goes where: Modoboa, files, logos, pages of the edge's own; and no worker dies of a header."""

import http.server
import json
import os
import threading
import time

import pytest

from deploy.process import free_port
from tests.edge.conftest import CONFIG, THEME, A, B, P
from tests.edge.http2 import Conversation
from tests.edge.upstream import UwsgiEcho
from tests.edge.visitor import eventually, plain

TO_MODOBOA = [
    "/api/v2/domains/",
    "/api/o/token/",
    "/api/o/authorize/?x=1",
    "/api/o/.well-known/openid-configuration",
    "/accounts/login/",
    "/reset/MQ/token/",
    "/autodiscover/autodiscover.xml",
    "/mobileconfig",
    "/mail/config-v1.1.xml",
]
CLOSED_TO_TENANTS = [
    "/api/o/applications/",
    "/api/o/applications/register/",
    "/api/o/authorized_tokens/",
    "/api/o/register/",
    "/api/o/device/",
    "/api/o/device-authorization/",
    "/api/o/introspect/",
    "/api/%6f/applications/",
    "/api//o/applications/",
    "/api/x/../o/applications/",
]


@pytest.mark.parametrize("path", TO_MODOBOA)
def test_these_go_to_modoboa(edge, path):
    answer = edge.get(A, path)
    assert json.loads(answer.body)["path"] == path


@pytest.mark.parametrize("path", CLOSED_TO_TENANTS)
def test_oauth_management_is_closed_on_tenants_hosts(edge, path):
    assert edge.get(A, path).status == 404


def test_oauth_management_is_open_on_the_primary_host(edge):
    assert edge.get(P, "/api/o/applications/").status == 200
    assert edge.get(P, "/api/o/introspect/", method="POST").status == 200


def test_tokens_are_looked_into_from_this_machine_only(edge):
    for path in ("/api/o/introspect/", "/api/o/introspect", "/api/v2/../o/introspect/"):
        with edge.visit(P, source="127.0.0.2") as visit:
            assert visit.get(path, P, method="POST").status == 404
    with edge.visit(P, source="127.0.0.2") as visit:
        assert visit.get("/api/o/applications/", P).status == 200


@pytest.mark.parametrize("path", ["/", "/admin/domains", "/login/logged?code=x", "/index.html"])
def test_pages_of_the_frontend_carry_the_tenants_colours_and_name(edge, path):
    answer = edge.get(A, path)
    page = answer.body.decode()
    assert answer.status == 200
    assert "<title>acme.test</title>" in page
    assert "--v-theme-primary:17,34,51" in page
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("text/html")


def test_a_tenant_without_theme_and_the_primary_host_keep_modoboas_look(edge):
    assert b"edge-first-paint" not in edge.get(B, "/").body
    assert f"<title>{B}</title>".encode() in edge.get(B, "/").body
    assert b"<title>Welcome to Modoboa</title>" in edge.get(P, "/").body


def test_config_json_is_relative_and_the_hosts_own(edge):
    tenant, primary = (json.loads(edge.get(h, "/config.json").body) for h in (A, P))
    assert P not in json.dumps(tenant)
    for config in (tenant, primary):
        assert config["API_BASE_URL"] == "/api/v2"
        assert config["OAUTH_AUTHORITY_URL"] == "/api/o"
        assert config["OAUTH_REDIRECT_URI"] == "/login/logged"
        assert config["OAUTH_POST_REDIRECT_URI"] == ""
        assert config["API_DOC_URL"] == "/api/schema-v2/swagger/"
        assert config["OAUTH_CLIENT_ID"] == CONFIG["OAUTH_CLIENT_ID"]
    assert tenant["HTML_PAGE_TITLE"] == "acme.test"
    assert primary["HTML_PAGE_TITLE"] == CONFIG["HTML_PAGE_TITLE"]


def test_a_tenants_favicon_has_its_colour(edge):
    icon = edge.get(A, "/favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert THEME["theme_primary_color"].encode() in icon.body
    assert edge.get(B, "/favicon.ico").headers["content-type"] == "image/x-icon"


def test_only_what_is_the_same_for_all_is_compressed(edge):
    asked = {"Accept-Encoding": "gzip"}
    assert edge.get(A, "/assets/long.js", headers=asked).headers["content-encoding"] == "gzip"
    for path in ("/", "/config.json", "/api/" + "long" * 300):
        assert "content-encoding" not in edge.get(A, path, headers=asked).headers, path


def test_files_are_served_from_the_instance(edge):
    assert edge.get(A, "/assets/app.js").body == b"export default 1;"
    assert "immutable" in edge.get(A, "/assets/app.js").headers["cache-control"]
    assert edge.get(A, "/assets/missing.js").status == 404
    assert edge.get(A, "/sitestatic/x/remoteEntry.js").status == 200
    media = edge.get(A, "/media/m.txt")
    assert media.body == b"media"
    assert media.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert edge.get(A, "/media/../sitestatic/../../keyring").status in (400, 404)
    for path in ("/", "/assets/app.js", "/media/m.txt", "/config.json", "/api/"):
        assert edge.get(A, path).headers["strict-transport-security"] == "max-age=31536000"
        assert edge.get(A, path).headers["x-content-type-options"] == "nosniff"


LUA_ANSWERS = [
    "/index.html",
    "/",
    "/config.json",
    "/favicon.ico",
    "/_edge/x",
    "/api/o/applications/",
]
HEADERS = [
    {"If-Match": "1"},
    {"If-Match": '"abc"'},
    {"If-Unmodified-Since": "Mon, 01 Jan 1990 00:00:00 GMT"},
    {"If-None-Match": "*"},
    {"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"},
    {"Range": "bytes=0-0,-1"},
    {"Range": "bytes=99999999-"},
    {"Expect": "100-continue"},
    {"Expect": "200-nonsense"},
    {"If-Range": "x", "Range": "bytes=1-2"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda h: " ".join(h))
@pytest.mark.parametrize("path", LUA_ANSWERS)
def test_no_conditional_header_kills_a_worker(edge, path, headers):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        with edge.visit(A) as visit:
            visit.get(path, A, method=method, headers=headers)
    with edge.visit(A, alpn=b"h2") as visit:
        talk = Conversation(visit)
        for method in ("GET", "HEAD", "POST"):
            lower = {name.lower(): value for name, value in headers.items()}
            assert talk.get(path, A, method=method, headers=lower).status
    named = {n.replace("-", "_"): v for n, v in headers.items()}
    for where in ("/.well-known/acme-challenge/abcdefghijklmnopqrst", "/x"):
        plain(edge.http, where, A, **named)
    for where in ("/healthz", "/metrics", f"/hosts/{A}"):
        plain(edge.status_port, where, "127.0.0.1", **named)
    assert edge.exits() == 0


@pytest.fixture(scope="module")
def down(edges):
    """An edge whose Modoboa does not listen."""
    edge = edges.make()
    edge.publisher.publish(P, kind="primary")
    edge.settle(edge.publisher.publish(A, theme=THEME, domains="acme.test"))
    edge.echo.stop()
    return edge


def test_when_modoboa_is_down_a_branded_page_says_so(down):
    answer = down.get(A, "/accounts/login/")
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert b"#112233" in answer.body
    assert b"acme.test" in answer.body
    assert down.get(A, "/api/v2/x").headers["content-type"] == "application/json"
    for headers in HEADERS:
        with down.visit(A) as visit:
            visit.get("/accounts/login/", A, headers=headers)
            visit.get("/api/v2/x", A, headers=headers)
    assert down.exits() == 0


def test_the_page_of_the_primary_hostname_says_which_it_is(down):
    body = down.get(P, "/accounts/login/").body.decode()
    assert f"<title>{P}</title>" in body
    assert f"<h1>{P}</h1>" in body


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/api/v2/x", "/", "/index.html", "/login", "/config.json"]
)
def test_each_request_is_counted_once(down, path):
    name = 'edge_requests_total{result="ok"}'
    time.sleep(1.1)  # (1) each worker adds up once a second
    before = down.metric(name)
    down.get(A, path)
    time.sleep(1.1)
    assert down.metric(name) == before + 1


@pytest.fixture
def logos():
    """The control plane's logo address, counting what it is asked."""
    asked = []

    class Logo(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            known = 500 if self.server.broken else 200
            self.send_response(known if "ab" * 32 in self.path else 404)
            self.send_header("X-Accel-Expires", self.server.fresh_for)
            self.send_header("Content-Type", "image/png")
            self.send_header("Set-Cookie", "a=b")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"logo")

        def log_message(self, *_):
            pass

    port = free_port()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Logo)
    server.broken, server.fresh_for = False, "@9999999999"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield port, asked, server
    server.shutdown()
    server.server_close()


def test_logos_come_through_the_cache_and_outlive_the_control_plane(edges, logos):
    port, asked, server = logos
    edge = edges.make(start=False)
    edge.env["CONTROL_URL"] = f"http://127.0.0.1:{port}"
    edge.start()
    edge.settle(edge.publisher.publish(A))
    path = "/_edge/logos/" + "ab" * 32 + ".png"
    secrets = {"Cookie": "sessionid=secret", "Authorization": "Bearer secret"}
    first = edge.get(A, path, headers=secrets)
    assert (first.status, first.body) == (200, b"logo")
    assert "immutable" in first.headers["cache-control"]
    assert "set-cookie" not in first.headers
    assert first.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert asked[0][0] == "/api/v1/logos/" + "ab" * 32 + ".png"
    assert not {"Cookie", "Authorization"} & asked[0][1].keys()
    with edge.visit(A) as visit:
        assert visit.get(path, A, method="POST", body=b"secret").status == 403
    server.shutdown()
    server.server_close()
    assert edge.get(A, path).body == b"logo"
    assert len(asked) == 1
    for other in (
        "/_edge/logos/x.png",
        "/_edge/logos/" + "ab" * 32 + ".svg",
        "/_edge/",
        "/_edge/logos/../x",
    ):
        assert edge.get(A, other).status == 404


def test_over_uwsgi_modoboa_is_told_the_same(edges):
    edge = edges.make(start=False)
    socket = str(edge.directory.parent / "uwsgi.sock")
    echo = UwsgiEcho(socket)
    os.chmod(socket, 0o777)
    edge.env["EDGE_UPSTREAM"] = f"uwsgi://unix:{socket}"
    edge.env["EDGE_PUBLIC_HTTPS_PORT"] = "9443"
    edge.start()
    edge.settle(edge.publisher.publish(A, theme=THEME))
    forged = {
        "X-Virtual-Host": B,
        "X-Virtual-Host-Theme": "{}",
        "X-Forwarded-Host": B,
        "X-Forwarded-Port": "1",
        "X-Forwarded-Server": B,
        "X-Forwarded-Ssl": "off",
        "X-Forwarded-Proto": "http",
        "X-Scheme": "http",
        "X-Rewrite-URL": "/evil",
        "Proxy": "http://evil.test",
        "Forwarded": "host=x",
        "X-Forwarded-For": "203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "X-Original-URL": "/evil",
    }
    answer = edge.get(A, "/api/v2/x?y=1", headers=forged)
    pairs = json.loads(answer.body)["variables"]
    told = dict(map(tuple, pairs))
    assert len(told) == len(pairs), "no variable twice"
    assert told["HTTP_HOST"] == f"{A}:9443"
    assert told["HTTPS"] == "on"
    assert told["HTTP_X_VIRTUAL_HOST"] == A
    assert json.loads(told["HTTP_X_VIRTUAL_HOST_THEME"]) == THEME
    assert told["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert told["HTTP_X_FORWARDED_PROTO"] == "https"
    kept = {"X-Virtual-Host", "X-Virtual-Host-Theme", "X-Forwarded-For", "X-Forwarded-Proto"}
    for name in forged.keys() - kept:
        assert told.get("HTTP_" + name.upper().replace("-", "_"), "") == "", name
    assert plain(edge.http, "/x", A).headers["location"] == f"https://{A}:9443/x"
    echo.stop()


def test_one_hostname_can_be_watched_without_a_reload(edge):
    edge.status(f"/hosts/{B}?seconds=60", "POST")

    def watched():
        edge.get(B)
        with edge.visit(B) as visit:
            visit.get("/api/", A)
        edge.settle(edge.publisher.publish(B))
        return f"watched {B}" in edge.log()

    eventually(watched, seconds=8)
    assert f"watched {A}" not in edge.log().replace(f"watched {A}: request refused", "")


def test_nothing_secret_and_nothing_a_client_made_up_is_logged(edges):
    edge = edges.make(log_level="debug")
    edge.settle(edge.publisher.publish(A))
    leaf, sealed = edge.publisher.leaves[A], edge.redis.hget(f"vh:cert:{A}", "key")
    edge.get(A)
    edge.get(A, "/index.html")
    edge.redis.hset(f"vh:cert:{A}", "key", leaf.key_pem)
    edge.settle(edge.publisher.publish("later.acme.test"))
    edge.redis.publish("vh:changed", "look")
    edge.refuses("secret-name-of-a-client.test")
    with edge.visit(A) as visit:
        visit.get("/login/logged?code=topsecret", "other-made-up-name.test")
    time.sleep(1.2)  # (1) the edge writes its lines up to a second late
    edge.stop()
    logs = "".join(file.read_text(errors="replace") for file in edge.directory.glob("logs/*"))
    assert "[debug]" in logs, "nginx logs at the level that was asked for"
    assert "http header: " in logs
    ring = edge.publisher.keyring.path.read_text().split()[1]
    for secret in ("PRIVATE KEY", "BEGIN CERT", "v1:k1:", ring, sealed[10:50]):
        assert secret not in logs
    for pem in (leaf.key_pem, leaf.chain):
        assert pem.splitlines()[1][:40] not in logs
    above_info = [
        line for line in logs.splitlines() if "[debug]" not in line and "[info]" not in line
    ]
    text = "\n".join(above_info)
    assert "secret-name-of-a-client" not in text
    assert "made-up-name" not in text
    assert "topsecret" not in text


METRICS = (
    "handshakes_total requests_total certificate_loads_total sync_age_seconds applied_revision hosts "
    "certificates_cached redis_errors_total refused_publishes"
)


def test_every_metric_is_there_before_anything_was_counted(edges):
    edge = edges.make()
    text = edge.status("/metrics").body.decode()
    edge.stop()
    samples = {
        line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[:1] not in ("#", "")
    }
    assert {f"edge_{name}" for name in METRICS.split()} <= samples


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/config.json", "/favicon.ico", "/assets/app.js"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_and_files_can_only_be_read(edge, path, method):
    assert edge.get(A, path, method=method).status == 405
    assert edge.get(A, path, method="HEAD").status == 200


@pytest.mark.parametrize("gone", ["silent", "broken"])
def test_a_logo_that_is_no_longer_fresh_is_served_stale_while_the_control_plane_is_away(
    edges, logos, gone
):
    port, asked, server = logos
    edge = edges.make(start=False)
    edge.env["CONTROL_URL"] = f"http://127.0.0.1:{port}"
    edge.start()
    edge.settle(edge.publisher.publish(A))
    path, server.fresh_for = "/_edge/logos/" + "ab" * 32 + ".png", "1"
    assert edge.get(A, path).body == b"logo"
    before = len(asked)
    eventually(lambda: edge.get(A, path).body == b"logo" and len(asked) > before)
    if gone == "broken":
        server.broken = True
    else:
        server.shutdown()
        server.server_close()
    before = len(asked)
    time.sleep(2.1)  # (1) fresh for one second
    for _ in range(3):
        assert (edge.get(A, path).status, edge.get(A, path).body) == (200, b"logo")
    if gone == "broken":
        eventually(lambda: len(asked) > before)
