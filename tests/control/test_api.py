"""The REST API: what each path promises, and the sentence for each thing that is refused."""

from __future__ import annotations

import io
import math
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import update

from control.api import auth
from control.app import create_app
from control.models import Certificate, Token
from control.ports import AddressAnswer
from tests.control.conftest import House, both_databases
from tests.control.pki import Ca
from tests.control.test_settings import NO_DIRECTORIES

HOSTS = "/api/v1/virtualhosts"
ACME = f"{HOSTS}/mail.acme.test"


def put(client: FlaskClient, name: str = "mail.acme.test", **body: Any) -> Any:
    return client.put(f"{HOSTS}/{name}", json=body)


class TestVirtualHosts:
    @both_databases
    def test_put_creates_once_and_answers_the_same_again(self, client: FlaskClient) -> None:
        first = put(client, domains=["acme.test"], owner="modoboa", generation=7)
        again = put(client, domains=["acme.test"], owner="modoboa", generation=7)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json["status"] == "pending"
        assert first.json["error"] is None
        assert {
            k: again.json[k] for k in ("hostname", "kind", "domains", "owner", "generation")
        } == {
            "hostname": "mail.acme.test",
            "kind": "tenant",
            "domains": ["acme.test"],
            "owner": "modoboa",
            "generation": 7,
        }

    def test_fields_left_out_keep_their_value(self, client: FlaskClient) -> None:
        put(client, domains=["acme.test"], enabled=False, hsts_max_age=60)
        kept = put(client).json
        assert (kept["domains"], kept["enabled"], kept["hsts_max_age"]) == (
            ["acme.test"],
            False,
            60,
        )
        assert put(client, domains=[]).json["domains"] == []

    def test_get_shows_everything_but_no_key(self, house: House, client: FlaskClient) -> None:
        put(client)
        house.work()
        shown = client.get(ACME).json
        assert set(shown) == {
            "hostname", "kind", "domains", "enabled", "owner", "generation", "hsts_max_age",
            "status", "step", "error", "certificate", "theme", "revision", "served_by",
            "created_at", "updated_at",
        }  # fmt: skip
        assert set(shown["certificate"]) == {
            "source", "issuer", "serial", "sha256", "sans", "not_before", "not_after", "renew_at",
            "chain",
        }  # fmt: skip
        assert shown["status"] == "ready"
        assert shown["served_by"] == [{"edge": "edge-1", "revision": shown["revision"]}]
        assert "v1:" not in client.get(ACME).text

    def test_the_chain_is_told_leaf_first_and_not_in_the_list(
        self, house: House, client: FlaskClient
    ) -> None:
        put(client)
        ca = Ca()
        pair = ca.pair("mail.acme.test")
        assert client.put(f"{ACME}/certificate", json=pair.body()).status_code == 200
        shown = client.get(ACME).json["certificate"]
        _, parent = x509.load_pem_x509_certificates(pair.chain.encode())
        assert [set(link) for link in shown["chain"]] == [
            {"subject", "issuer", "not_after", "sha256"}
        ] * 2
        first, second = shown["chain"]
        assert (first["issuer"], second["subject"]) == ("Intermediate", "Intermediate")
        assert second["issuer"] == "Root"
        assert (first["sha256"], first["not_after"]) == (shown["sha256"], shown["not_after"])
        assert second["sha256"] == parent.fingerprint(hashes.SHA256()).hex()
        assert datetime.fromisoformat(second["not_after"]) == parent.not_valid_after_utc
        assert "chain" not in client.get(HOSTS).json["items"][0]["certificate"]

    def test_a_leaf_without_a_subject_is_called_by_its_first_name(
        self, house: House, client: FlaskClient
    ) -> None:
        put(client)
        house.work()
        chain = client.get(ACME).json["certificate"]["chain"]
        assert chain[0]["subject"] == "mail.acme.test"

    def test_a_stored_chain_that_cannot_be_read_does_not_hide_the_host(
        self, house: House, client: FlaskClient
    ) -> None:
        put(client)
        house.work()
        with house.plane.database.writing() as session:
            session.execute(update(Certificate).values(chain="damaged"))
        assert client.get(ACME).json["certificate"]["chain"] == []

    def test_wait_answers_as_soon_as_it_is_not_pending(
        self, house: House, client: FlaskClient
    ) -> None:
        put(client)
        worker = threading.Timer(0.3, house.work)
        worker.start()
        started = time.monotonic()
        assert client.get(f"{ACME}?wait=30").json["status"] == "ready"
        assert time.monotonic() - started < 20
        worker.join()

    def test_wait_gives_up_with_what_there_is(self, client: FlaskClient) -> None:
        put(client)
        assert client.get(f"{ACME}?wait=0.1").json["status"] == "pending"

    @pytest.mark.parametrize("wait", ["61", "-1", "nan", "soon"])
    def test_wait_has_bounds(self, client: FlaskClient, wait: str) -> None:
        put(client)
        assert client.get(f"{ACME}?wait={wait}").status_code == 422

    def test_patch_changes_what_it_names(self, house: House, client: FlaskClient) -> None:
        put(client)
        house.work()
        changed = client.patch(ACME, json={"enabled": False}).json
        assert changed["enabled"] is False
        assert house.store.state("mail.acme.test") == "disabled", "published with the answer"

    def test_delete_is_at_once(self, house: House, client: FlaskClient) -> None:
        put(client)
        house.work()
        assert client.delete(ACME).status_code == 204
        assert client.get(ACME).status_code == 404
        assert client.get(HOSTS).json["items"] == []
        assert house.store.state("mail.acme.test") == "deleted", "published with the answer"
        assert client.delete(ACME).status_code == 404

    def test_a_deleted_host_may_be_made_again(self, house: House, client: FlaskClient) -> None:
        put(client, domains=["acme.test"])
        house.work()
        client.delete(ACME)
        again = put(client)
        assert again.status_code == 201
        assert again.json["status"] == "pending"
        assert again.json["certificate"] is None
        house.work()
        assert client.get(ACME).json["status"] == "ready"

    def test_retry_is_for_failed_ones_only(self, house: House, client: FlaskClient) -> None:
        put(client)
        assert client.post(f"{ACME}/retry").status_code == 409
        house.resolver.default = None
        house.work(rounds=1)
        assert client.get(ACME).json["error"]["reason"] == "dns_nxdomain"
        answer = client.post(f"{ACME}/retry")
        assert (answer.status_code, answer.json["status"]) == (202, "pending")

    def test_a_hint_names_the_addresses_of_the_edge_where_they_are_known(
        self, house: House, client: FlaskClient
    ) -> None:
        put(client)
        house.resolver.default = None
        house.work(rounds=1)
        listed = lambda: client.get(HOSTS).json["items"][0]["error"]  # noqa: E731
        for error in (client.get(ACME).json["error"], listed()):
            assert error["record"] == "mail.acme.test. 300 IN A 192.0.2.1"
            assert error["hint"] == (
                "Create the DNS record for mail.acme.test; it must say 192.0.2.1."
            )
        host = house.host()
        two = host.explained(("192.0.2.1", "2001:db8::1")) or {}
        assert two["hint"].endswith("it must say 192.0.2.1 and 2001:db8::1.")
        unknown = host.explained(()) or {}
        assert unknown["hint"].endswith("it must say the addresses of this edge.")

    def test_renew_is_accepted(self, house: House, client: FlaskClient) -> None:
        put(client)
        house.work()
        assert client.post(f"{ACME}/renew").status_code == 202
        house.work()
        assert house.authority.count("new_order") == 2

    def test_renew_of_an_uploaded_certificate_says_what_to_do_instead(
        self, house: House, client: FlaskClient
    ) -> None:
        house.add()
        pair = Ca().pair("mail.acme.test")
        client.put(
            f"{ACME}/certificate", json={"chain": pair.chain, "private_key": pair.private_key}
        )
        refused = client.post(f"{ACME}/renew")
        assert refused.status_code == 409
        assert "upload the next one" in refused.json["message"]  # type: ignore[index]


class TestRefusals:
    """Each gets its status and one sentence."""

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("Mail.Acme.test", "hostname must be lowercase: mail.acme.test"),
            ("*.acme.test", "hostname must not be a wildcard: add each hostname by itself"),
            ("192.0.2.1", "hostname must not be an IP address: use a name that points to it"),
            ("my_mail.acme.test", "hostname must not contain an underscore: use a hyphen instead"),
            ("localhost", "hostname is reserved: localhost"),
            ("mail.kept.test", "hostname is reserved: mail.kept.test"),
            ("mail.provider.test", "hostname is reserved: mail.provider.test is the primary hostname, choose another"),
            (".".join(["a" * 63] * 3 + ["a" * 62]), "hostname must have at most 253 characters, this one has 254"),
            ("büro.example", "hostname must be ASCII, internationalized names as their A-label: xn--bro-hoa.example"),
        ],
    )  # fmt: skip
    def test_hostnames(self, client: FlaskClient, name: str, sentence: str) -> None:
        answer = put(client, name)
        assert answer.json == {
            "code": 422,
            "status": "Unprocessable Entity",
            "message": sentence,
            "errors": {},
        }

    def test_what_is_no_json(self, client: FlaskClient) -> None:
        text = client.put(
            ACME, data="enabled=true", content_type="application/x-www-form-urlencoded"
        )
        assert text.status_code == 415
        broken = client.put(ACME, data="{", content_type="application/json")
        assert broken.status_code == 400
        listed = client.put(ACME, json=["acme.test"])
        assert listed.status_code == 422
        for answer in (text, broken, listed):
            assert set(answer.json) == {"code", "status", "message", "errors"}
            assert answer.json["message"]

    def test_unknown_and_wrong_fields(self, client: FlaskClient) -> None:
        unknown = put(client, colour="red")
        assert unknown.status_code == 422
        assert unknown.json["message"] == "colour: Unknown field."
        assert put(client, enabled="yes").status_code == 422
        assert put(client, generation=-1).status_code == 422
        assert put(client, generation="7").status_code == 422
        assert put(client, domains="acme.test").status_code == 422
        bad = put(client, domains=["Acme.test"])
        assert bad.json["message"] == "domains.0: domain must be lowercase: acme.test"

    def test_a_domain_that_is_linked_elsewhere(self, client: FlaskClient) -> None:
        put(client, domains=["acme.test"])
        answer = put(client, "mail.globex.test", domains=["globex.test", "acme.test"])
        assert answer.status_code == 409
        assert "acme.test is linked to mail.acme.test" in answer.json["message"]
        assert client.get(f"{HOSTS}/mail.globex.test").status_code == 404, "nothing was written"

    def test_another_owner_is_named_and_may_be_overridden(self, client: FlaskClient) -> None:
        put(client, owner="modoboa")
        for answer in (
            put(client, owner="billing"),
            put(client),
            client.patch(ACME, json={"enabled": False}),
            client.delete(ACME),
        ):
            assert answer.status_code == 409
            assert "modoboa" in answer.json["message"]
        assert client.patch(ACME, json={"enabled": False, "owner": "modoboa"}).status_code == 200
        assert client.patch(f"{ACME}?force=true", json={"enabled": True}).status_code == 200
        taken = client.put(f"{ACME}?force=true", json={"owner": "billing"})
        assert taken.json["owner"] == "billing"
        assert client.delete(f"{ACME}?owner=billing").status_code == 204

    def test_an_older_generation_also_after_a_delete(self, client: FlaskClient) -> None:
        put(client, generation=7)
        assert put(client, generation=6).status_code == 409
        assert client.delete(f"{ACME}?generation=6").status_code == 409
        assert client.delete(f"{ACME}?generation=8").status_code == 204
        assert put(client, generation=7).status_code == 409
        assert put(client, generation=9).status_code == 201

    def test_the_primary_hostname_is_listed_but_nobodys_to_change(
        self, house: House, client: FlaskClient
    ) -> None:
        from control import registry

        registry.ensure_primary(house.plane)
        house.work()
        (primary,) = client.get(HOSTS).json["items"]
        assert (primary["hostname"], primary["kind"], primary["status"]) == (
            "mail.provider.test", "primary", "ready",
        )  # fmt: skip
        path = f"{HOSTS}/mail.provider.test"
        assert client.put(path, json={"domains": ["x.test"]}).status_code == 422
        assert client.patch(f"{path}?force=true", json={"enabled": False}).status_code == 409
        assert client.delete(f"{path}?force=true").status_code == 409

    def test_paths_and_methods_that_are_not_there(self, client: FlaskClient) -> None:
        assert client.get("/api/v1/nothing").json["code"] == 404
        missing = client.post(HOSTS)
        assert missing.status_code == 405
        assert "GET" in missing.headers["Allow"]

    def test_a_body_of_more_than_2_mb(self, client: FlaskClient) -> None:
        big = client.put(ACME, data=b"{" + b" " * 2_100_000, content_type="application/json")
        assert big.status_code == 413


class TestTokens:
    def test_nothing_is_told_without_a_token(self, house: House) -> None:
        stranger = create_app(house.plane).test_client()
        for method, path in (("GET", HOSTS), ("PUT", ACME), ("GET", "/api/v1/edges"),
                             ("GET", "/api/v1/settings"), ("GET", "/api/v1/events")):  # fmt: skip
            answer = stranger.open(path, method=method)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "token" in answer.json["message"]
        wrong = stranger.get(HOSTS, headers={"Authorization": "Bearer edge_wrong"})
        assert wrong.status_code == 401

    def test_one_that_may_only_read_cannot_write(self, house: House) -> None:
        record, secret = Token.create("reader", house.clock(), read_only=True)
        with house.plane.database.writing() as session:
            session.add(record)
        reader = create_app(house.plane).test_client()
        reader.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        assert reader.get(HOSTS).status_code == 200
        assert put(reader).status_code == 403

    def test_one_of_hosts_only_changes_neither_settings_nor_webhooks(self, house: House) -> None:
        record, secret = Token.create("billing", house.clock(), hosts_only=True)
        with house.plane.database.writing() as session:
            session.add(record)
        billing = create_app(house.plane).test_client()
        billing.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        assert put(billing).status_code == 201
        assert billing.patch(f"{ACME}/theme", json={"primary": "#112233"}).status_code == 200
        assert billing.get("/api/v1/settings").status_code == 200
        refused = billing.put("/api/v1/settings", json={"acme_enabled": False})
        assert refused.status_code == 403
        assert refused.json["message"] == "token billing may change hosts, not settings"
        assert billing.put("/api/v1/webhooks/x", json={"url": "https://x.test/"}).status_code == 403
        assert billing.delete("/api/v1/webhooks/x").status_code == 403

    def test_only_the_digest_is_stored(self, house: House, token: str) -> None:
        with house.plane.database.reading() as session:
            row = session.query(Token).one()
        assert token not in repr(vars(row))
        assert row.sha256 == Token.digest(token)

    def test_one_that_asks_too_often_is_told_when_to_come_back(
        self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(auth, "buckets", auth.Buckets(per_second=0.01, burst=2))
        assert [client.get(HOSTS).status_code for _ in range(3)] == [200, 200, 429]
        answer = client.get(HOSTS)
        seconds = int(answer.headers["Retry-After"])
        assert 1 <= seconds <= 100
        assert answer.json["code"] == 429
        assert f"try again in {seconds} s" in answer.json["message"]

    @pytest.mark.parametrize("per_second", [0.3, 0.7, 3.0])
    def test_the_time_that_is_told_is_enough_and_others_are_not_held_up(
        self, per_second: float
    ) -> None:
        buckets = auth.Buckets(per_second, burst=5)
        assert [buckets.take("one", 0.0) for _ in range(5)] == [0.0] * 5
        wait = buckets.take("one", 0.0)
        assert buckets.take("one", wait * 0.9) > 0
        assert buckets.take("two", 0.0) == 0
        assert buckets.take("one", float(math.ceil(wait))) == 0


class TestList:
    @pytest.fixture
    def hosts(self, house: House, client: FlaskClient) -> None:
        for number in range(5):
            put(client, f"h{number}.acme.test", domains=[f"d{number}.test"])
        put(client, "x.globex.test", enabled=False, owner="modoboa")
        house.work()
        put(client, "y.globex.test")

    def names(self, client: FlaskClient, query: str) -> list[str]:
        answer = client.get(f"{HOSTS}?{query}")
        assert answer.status_code == 200
        return [item["hostname"].split(".")[0] for item in answer.json["items"]]

    @both_databases
    @pytest.mark.usefixtures("hosts")
    def test_filters(self, client: FlaskClient, house: House) -> None:
        assert self.names(client, "status=pending") == ["y"]
        assert self.names(client, "enabled=false") == ["x"]
        assert self.names(client, "q=GLOBEX") == ["x", "y"]
        assert self.names(client, "q=%25") == []
        assert self.names(client, "domain=d3.test") == ["h3"]
        assert self.names(client, "owner=modoboa") == ["x"]
        later = (house.clock() + timedelta(days=200)).isoformat().replace("+", "%2B")
        assert len(self.names(client, f"expires_before={later}")) == 6
        assert self.names(client, f"expires_before={house.clock():%Y-%m-%dT%H:%M:%SZ}") == []

    @pytest.mark.usefixtures("hosts")
    def test_pages_by_hostname(self, client: FlaskClient) -> None:
        seen: list[str] = []
        after = ""
        while True:
            page = client.get(f"{HOSTS}?limit=3&after={after}").json
            seen += [item["hostname"] for item in page["items"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert seen == sorted(seen)
        assert len(seen) == 7

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=501", "status=well", "expires_before=soon"]
    )
    def test_what_makes_no_sense_is_refused(self, client: FlaskClient, query: str) -> None:
        assert client.get(f"{HOSTS}?{query}").status_code == 422


class TestThemes:
    def test_put_sets_all_and_patch_some(self, house: House, client: FlaskClient) -> None:
        put(client)
        house.work()
        theme = f"{ACME}/theme"
        client.put(theme, json={"primary": "#FF0000", "label": "#00ff00"})
        patched = client.patch(theme, json={"label": None, "secondary": "#0000ff"}).json
        assert (patched["primary"], patched["label"], patched["secondary"]) == (
            "#FF0000", None, "#0000ff",
        )  # fmt: skip
        assert house.store.hosts["mail.acme.test"][1].theme == {
            "theme_primary_color": "#FF0000",
            "theme_secondary_color": "#0000ff",
        }
        assert client.put(theme, json={}).json["primary"] is None
        assert client.get(theme).json["primary"] is None

    @pytest.mark.parametrize("colour", ["red", "#ff00", "#ff00000", "#gg0000", "#ff0000\n", 7])
    def test_a_colour_is_rrggbb(self, client: FlaskClient, colour: object) -> None:
        put(client)
        assert client.patch(f"{ACME}/theme", json={"primary": colour}).status_code == 422

    @pytest.mark.parametrize(
        ("kind", "media"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif")]
    )
    def test_a_logo_is_re_encoded_and_served_for_ever(
        self, house: House, client: FlaskClient, kind: str, media: str
    ) -> None:
        put(client)
        sent = picture(kind)
        theme = client.put(f"{ACME}/logos/login", data=sent, content_type="text/html").json
        url = theme["logos"]["login"]
        stranger = create_app(house.plane).test_client()
        answer = stranger.get(url)
        assert answer.status_code == 200
        assert answer.mimetype == f"image/{media}"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert "immutable" in answer.headers["Cache-Control"]
        assert b"secret comment" not in answer.data
        assert Image.open(io.BytesIO(answer.data)).size == (8, 4)
        given = house.store.hosts["mail.acme.test"][1].theme["theme_login_logo_url"]
        assert given == url.replace("/api/v1/logos/", "/_edge/logos/")
        assert client.delete(f"{ACME}/logos/login").status_code == 204
        assert client.get(f"{ACME}/theme").json["logos"]["login"] is None

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", 422),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
            (b"\x89PNG\r\n\x1a\n garbage", 422),
            (b"GIF89a" + b"\0" * 100, 422),
            (b"\0" * 1_000_001, 413),
        ],
    )
    def test_what_is_no_image_is_refused(
        self, client: FlaskClient, content: bytes, code: int
    ) -> None:
        put(client)
        assert client.put(f"{ACME}/logos/menu", data=content).status_code == code

    def test_a_bomb_is_refused_before_it_is_decoded(self, client: FlaskClient) -> None:
        put(client)
        out = io.BytesIO()
        Image.new("1", (5000, 5000)).save(out, "PNG")
        answer = client.put(f"{ACME}/logos/menu", data=out.getvalue())
        assert answer.status_code == 422
        assert "4 megapixels" in answer.json["message"]

    def test_places_and_files_that_are_not_there(self, client: FlaskClient) -> None:
        put(client)
        assert client.put(f"{ACME}/logos/footer", data=picture("PNG")).status_code == 404
        assert client.get(f"/api/v1/logos/{'0' * 64}.png").status_code == 404
        assert client.get("/api/v1/logos/..%2f..%2fetc%2fpasswd").status_code == 404


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (8, 4), "#123456")
    options: dict[str, Any] = {"comment": b"secret comment"} if kind in ("JPEG", "GIF") else {}
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca()


class TestWhatSomebodyElseChanged:
    """ETag and If-Match: who has not seen the latest change is told, and nothing is lost."""

    @both_databases
    @pytest.mark.parametrize(
        ("path", "one", "another"),
        [
            ("/api/v1/settings", {"hsts_max_age": 60}, {"acme_email": "a@provider.test"}),
            (f"{ACME}/theme", {"primary": "#112233"}, {"label": "#445566"}),
        ],
    )
    def test_is_kept(self, client: FlaskClient, path: str, one: Any, another: Any) -> None:
        put(client)
        seen = {"If-Match": client.get(path).headers["ETag"]}
        first = client.put(path, json=one, headers=seen)
        assert first.status_code == 200
        refused = client.put(path, json=another, headers=seen)
        assert refused.status_code == 412
        assert "read it again" in refused.json["message"]
        now = client.get(path)
        assert now.json == first.json
        assert now.headers["ETag"] == first.headers["ETag"] != seen["If-Match"]
        again = {"If-Match": now.headers["ETag"]}
        assert client.put(path, json=another, headers=again).status_code == 200

    def test_is_overwritten_by_who_does_not_ask(self, client: FlaskClient) -> None:
        put(client)
        for headers in ({}, {"If-Match": "*"}):
            for path in ("/api/v1/settings", f"{ACME}/theme"):
                assert client.put(path, json={}, headers=headers).status_code == 200

    def test_concerns_a_patch_and_a_logo_too(self, client: FlaskClient) -> None:
        put(client)
        theme = f"{ACME}/theme"
        seen = {"If-Match": client.get(theme).headers["ETag"]}
        assert client.put(f"{ACME}/logos/login", data=picture("PNG")).status_code == 200
        colours = {"primary": "#112233"}
        assert client.patch(theme, json=colours, headers=seen).status_code == 412

    def test_is_told_from_one_tag_of_several_and_from_one_weakened_by_a_proxy(
        self, client: FlaskClient
    ) -> None:
        put(client)
        theme = f"{ACME}/theme"
        tag = client.get(theme).headers["ETag"]
        for known in (f'"another", {tag}', f"W/{tag}"):
            assert client.patch(theme, json={}, headers={"If-Match": known}).status_code == 200
        assert client.patch(theme, json={}, headers={"If-Match": '"another"'}).status_code == 412


class TestCertificates:
    def test_an_uploaded_one_is_served_and_a_delete_goes_back_to_the_ca(
        self, house: House, client: FlaskClient, ca: Ca
    ) -> None:
        put(client)
        answer = client.put(f"{ACME}/certificate", json=ca.pair("mail.acme.test").body())
        assert answer.status_code == 200
        assert answer.json["certificate"]["source"] == "uploaded"
        assert "PRIVATE KEY" not in answer.text
        house.work()
        assert client.get(ACME).json["status"] == "ready"
        assert house.authority.count("new_order") == 0
        assert house.store.hosts["mail.acme.test"][1].certificate is not None
        assert client.delete(f"{ACME}/certificate").status_code == 204
        house.work()
        assert client.get(ACME).json["certificate"]["source"] == "acme"

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (lambda ca: ca.pair("other.test").body(), "the certificate is for other.test, not for mail.acme.test"),
            (lambda ca: ca.pair("mail.acme.test", days=0.5).body(), "expired"),
            (lambda ca: ca.pair("mail.acme.test", begin=2).body(), "not valid before"),
            (lambda ca: ca.weak("mail.acme.test").body(), "RSA key of 1024 bits is too weak"),
            (lambda ca: ca.weak_above("mail.acme.test").body(),
             "certificate 2 of the chain is too weak (an RSA key of 1024 bits)"),
            (lambda ca: ca.weakly_signed_above("mail.acme.test").body(),
             "certificate 2 of the chain is too weak (signed with SHA1)"),
            (lambda ca: ca.pair("mail.acme.test", server=False).body(), "not meant for servers"),
            (lambda ca: {"chain": "nothing", "private_key": "nothing"}, "private_key is not a PEM private key"),
            (lambda ca: {**ca.pair("mail.acme.test").body(), "chain": "nothing"}, "chain is not a sequence"),
            (lambda ca: {"chain": ca.pair("mail.acme.test").chain, "private_key": ca.pair("a.b").private_key},
             "does not belong"),
        ],
    )  # fmt: skip
    def test_one_that_cannot_serve_is_refused_with_the_reason(
        self, client: FlaskClient, ca: Ca, wrong: Any, sentence: str
    ) -> None:
        put(client)
        answer = client.put(f"{ACME}/certificate", json=wrong(ca))
        assert answer.status_code == 422
        assert sentence in answer.json["message"]

    def test_a_wildcard_covers_its_hostname(self, client: FlaskClient, ca: Ca) -> None:
        put(client)
        good = client.put(f"{ACME}/certificate", json=ca.pair("*.acme.test").body())
        assert good.status_code == 200
        put(client, "a.mail.acme.test")
        path = f"{HOSTS}/a.mail.acme.test/certificate"
        assert client.put(path, json=ca.pair("*.acme.test").body()).status_code == 422

    def test_a_chain_in_the_wrong_order_or_broken(self, client: FlaskClient, ca: Ca) -> None:
        put(client)
        pair = ca.pair("mail.acme.test")
        marker = "-----BEGIN"
        leaf, issuer = (marker + part for part in pair.chain.split(marker)[1:])
        turned = client.put(
            f"{ACME}/certificate", json={"chain": issuer + leaf, "private_key": pair.private_key}
        )
        assert "wrong order" in turned.json["message"]
        stranger = Ca().pair("x.test").chain.split(marker)[2]
        broken = client.put(
            f"{ACME}/certificate",
            json={"chain": leaf + marker + stranger, "private_key": pair.private_key},
        )
        assert "not signed by" in broken.json["message"]


class TestAround:
    def test_events_say_who_did_what_newest_first(self, house: House, client: FlaskClient) -> None:
        put(client, domains=["acme.test"])
        house.work()
        client.patch(ACME, json={"enabled": False})
        events = client.get(f"{ACME}/events").json["items"]
        assert [event["kind"] for event in events] == [
            "updated", "ready", "certificate_issued", "created",
        ]  # fmt: skip
        assert events[-1]["actor"] == "tester"
        assert events[-1]["detail"] == {"domains": ["acme.test"]}
        assert events[-1]["remote"] == "127.0.0.1"
        assert events[-1]["request_id"]
        page = client.get("/api/v1/events?limit=2").json
        rest = client.get(f"/api/v1/events?after={page['next']}").json["items"]
        assert rest[0]["id"] < page["items"][-1]["id"]

    def test_the_list_can_be_narrowed_to_one_reason(
        self, house: House, client: FlaskClient
    ) -> None:
        house.resolver.names["mail.acme.test"] = AddressAnswer((), ("203.0.113.9",), ())
        put(client)
        put(client, "fine.acme.test")
        house.work()
        found = client.get(f"{HOSTS}?reason=dns_points_elsewhere").json["items"]
        assert [host["hostname"] for host in found] == ["mail.acme.test"]
        assert client.get(f"{HOSTS}?reason=bad_luck").status_code == 422

    def test_an_event_with_a_reason_says_who_must_act_and_how(
        self, house: House, client: FlaskClient
    ) -> None:
        house.resolver.names["mail.acme.test"] = AddressAnswer((), ("203.0.113.9",), ())
        put(client)
        house.work(rounds=1)
        failed, created = client.get(f"{ACME}/events").json["items"]
        assert (failed["kind"], failed["must_act"]) == ("failed", "tenant")
        assert failed["hint"] == ("Change the A and AAAA records of mail.acme.test to 192.0.2.1.")
        assert "hint" not in created

    def test_edges_tell_how_far_they_are(self, house: House, client: FlaskClient) -> None:
        house.store.frozen["edge-1"] = 0
        put(client)
        client.patch(ACME, json={"enabled": False})
        (edge,) = client.get("/api/v1/edges").json["items"]
        assert (edge["id"], edge["revision"]) == ("edge-1", 0)
        assert edge["lag"] > 0

    @pytest.mark.parametrize(
        ("method", "path", "words"),
        [
            ("GET", f"{HOSTS}?stauts=failed", "did you mean status?"),
            ("GET", f"{HOSTS}?page=2", "there are after, domain, enabled"),
            ("DELETE", f"{ACME}?forced=true", "did you mean force?"),
            ("POST", f"{ACME}/retry?force=true", "this path takes none"),
        ],
    )
    def test_a_parameter_that_means_nothing_is_refused(
        self, client: FlaskClient, method: str, path: str, words: str
    ) -> None:
        put(client)
        answer = client.open(path, method=method)
        assert answer.status_code == 422
        assert answer.json["message"].startswith("unknown query parameter ")
        assert words in answer.json["message"]
        assert client.get(ACME).status_code == 200, "nothing was done"

    def test_every_operation_has_a_name_of_its_own_for_a_generated_client(
        self, client: FlaskClient
    ) -> None:
        document = client.get("/api/v1/openapi.json").json
        names = [
            operation["operationId"]
            for operations in document["paths"].values()
            for method, operation in operations.items()
            if method != "parameters"
        ]
        assert len(names) == len(set(names)) >= 24
        assert "put_virtualhosts_hostname_certificate" in names
        assert all(name.isidentifier() for name in names)

    @both_databases
    @pytest.mark.parametrize(
        "path",
        [
            "virtualhosts/a%00b.test", "virtualhosts/a%00b.test/events", "virtualhosts?q=%00",
            "virtualhosts?owner=%00", "virtualhosts?after=%00", "virtualhosts?domain=%00",
            "events?kind=%00", "logos/%00.png", "events?after=9007199254740991",
        ],
    )  # fmt: skip
    def test_what_a_database_cannot_hold_is_no_fault_of_ours(
        self, client: FlaskClient, path: str
    ) -> None:
        assert client.get(f"/api/v1/{path}").status_code in (200, 404, 422)

    @both_databases
    @pytest.mark.parametrize("text", ["\0", "\ud800"])
    def test_a_text_that_is_none_is_refused_or_kept_as_it_is(
        self, client: FlaskClient, text: str
    ) -> None:
        for path, body in (
            ("settings", {"acme_profile": text}),
            ("settings", {"acme_preferred_issuer": text}),
            ("virtualhosts/mail.acme.test", {"owner": text}),
            ("virtualhosts/mail.acme.test", {"domains": [text]}),
            ("webhooks/billing", {"url": f"https://x.test/{text}"}),
        ):
            answer = client.put(f"/api/v1/{path}", json=body)
            assert answer.status_code in (200, 422), path
        assert client.get("/api/v1/settings").status_code == 200

    def test_limits_are_refused_with_how_to_write_them(self, client: FlaskClient) -> None:
        kept = client.put("/api/v1/settings", json={"acme_limits": "new_orders=50/1h"})
        assert kept.json["acme_limits"] == "new_orders=50/1h"
        refused = client.put("/api/v1/settings", json={"acme_limits": "fifty"})
        assert refused.status_code == 422
        assert "new_orders=300/3h" in refused.json["message"]

    def test_edges_and_webhooks_come_in_pages_too(self, house: House, client: FlaskClient) -> None:
        house.store.live |= {"edge-2", "edge-3"}
        for name in ("a", "b", "c"):
            client.put(f"/api/v1/webhooks/{name}", json={"url": "https://x.test/"})
        for path, key in (("edges", "id"), ("webhooks", "name")):
            first = client.get(f"/api/v1/{path}?limit=2").json
            rest = client.get(f"/api/v1/{path}?after={first['next']}").json
            assert rest["next"] is None
            names = [item[key] for item in (*first["items"], *rest["items"])]
            assert len(names) == 3
            assert names == sorted(names)

    def test_settings_are_shown_and_changed(self, client: FlaskClient) -> None:
        before = client.get("/api/v1/settings").json
        assert before["acme_enabled"] is True
        assert before["renewal_threshold_days"] is None
        after = client.put("/api/v1/settings", json={"renewal_threshold_days": 20}).json
        assert after == {**before, "renewal_threshold_days": 20}
        for wrong in ({"acme_directory_url": "http://ca.example/dir"}, {"colour": 1},
                      {"renewal_threshold_days": 0}, {"acme_email": "nobody"}):  # fmt: skip
            assert client.put("/api/v1/settings", json=wrong).status_code == 422

    @pytest.mark.parametrize("url", NO_DIRECTORIES)
    def test_what_is_no_address_of_a_ca_is_refused(self, client: FlaskClient, url: str) -> None:
        answer = client.put("/api/v1/settings", json={"acme_directory_url": url})
        assert (answer.status_code, answer.json["message"][:19]) == (422, "acme_directory_url:")

    def test_the_operators_reserved_hostnames_are_told(self, client: FlaskClient) -> None:
        answer = client.get("/api/v1/settings/reserved_hostnames")
        assert answer.json == {"items": ["mail.kept.test"]}

    def test_a_ca_is_tried_before_it_is_saved(self, client: FlaskClient, house: House) -> None:
        asked = {"acme_directory_url": house.authority.directory_url}
        answer = client.post("/api/v1/settings/test", json=asked).json
        assert [item["check"] for item in answer["items"]] == ["directory", "account", "terms"]
        assert client.post("/api/v1/settings/test", json={}).status_code == 422
        wrong = {"acme_directory_url": "http://ca.example/dir"}
        assert client.post("/api/v1/settings/test", json=wrong).status_code == 422

    def test_preflight_names_each_check(self, client: FlaskClient) -> None:
        put(client)
        items = client.get(f"{ACME}/preflight").json["items"]
        assert [item["check"] for item in items] == ["a", "aaaa", "cname", "caa", "port80"]
        assert {item["verdict"] for item in items} == {"pass"}
        assert set(items[0]) == {"check", "verdict", "reason", "actor", "evidence", "fix", "record"}

    def test_health_and_metrics_are_outside(self, house: House, client: FlaskClient) -> None:
        stranger = create_app(house.plane).test_client()
        assert stranger.get("/healthz").status_code == 200
        assert stranger.get("/readyz").json == {"database": "ok", "redis": "ok", "schema": "ok"}
        put(client)
        house.work()
        text = stranger.get("/metrics").text
        for line in (
            'control_virtual_hosts{status="ready"} 1',
            'control_issuances_total{result="success"} 1',
            "control_issuance_seconds_count 1",
            "control_edges 1",
            "control_due_renewals 0",
            "control_publish_lag_seconds 0",
        ):
            assert line in text.splitlines()
        assert "control_certificate_not_after_seconds " in text
        remote = {"REMOTE_ADDR": "192.0.2.7"}
        assert stranger.get("/metrics", environ_base=remote).status_code == 401
        assert client.get("/metrics", environ_base=remote).status_code == 200

    def test_readyz_names_what_is_not_ready(self, house: House, client: FlaskClient) -> None:
        house.store.away = True
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json["redis"].startswith("does not answer")

    def test_redis_away_is_503_where_it_is_needed_and_harmless_elsewhere(
        self, house: House, client: FlaskClient
    ) -> None:
        house.store.away = True
        away = client.get("/api/v1/edges")
        assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
        assert put(client).status_code == 201
        assert client.get(ACME).json["served_by"] == []
        assert client.delete(ACME).status_code == 204

    def test_documentation_needs_nothing_from_elsewhere(self, client: FlaskClient) -> None:
        page = client.get("/api/v1/docs")
        assert page.status_code == 200
        assert "/virtualhosts/{hostname}" in page.text
        assert "http://" not in page.text.replace("http://127.0.0.1", "")
        assert "https://" not in page.text
        spec = client.get("/api/v1/openapi.json").json
        assert spec["openapi"].startswith("3.")
        assert "/api/v1/virtualhosts/{hostname}" in spec["paths"]

    def test_every_answer_names_its_request(self, client: FlaskClient) -> None:
        own = client.get(HOSTS, headers={"X-Request-Id": "abc-1"})
        assert own.headers["X-Request-Id"] == "abc-1"
        odd = client.get(HOSTS, headers={"X-Request-Id": "a b"})
        assert odd.headers["X-Request-Id"] != "a b"
