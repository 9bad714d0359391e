"""Settings: typed, with a sentence for each wrong value and for each name that nobody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.settings import InvalidSetting, from_environment, unknown_names

NO_DIRECTORIES = (
    "http://127.0.0.1.evil.example/dir", "http://localhostevil.com/", "http://localhost@evil.example/",
    "https://", "https:///dir", "https://x:99999/dir", "https://x:0/dir", "https://u:p@h/",
    "https://a..b/", "https://[::1/", "https://h/ dir", "https://h\\@evil.example/", "http://::1/",
)  # fmt: skip
"""What looks like the address of a CA's directory, or of one on this machine, and is not."""


def test_without_an_environment_there_are_defaults() -> None:
    settings = from_environment({})
    assert settings.database_url.startswith("sqlite:///var/")
    assert settings.acme_directory_url == "https://acme-v02.api.letsencrypt.org/directory"
    assert settings.preflight is True
    assert settings.preflight_port == 80
    assert settings.allow_private_addresses is False


def test_values_are_typed() -> None:
    settings = from_environment(
        {
            "EDGE_KEYRING": "/etc/keyring",
            "RESOLVER": "127.0.0.1:8053, [2001:db8::1]:53 192.0.2.53",
            "EDGE_PUBLIC_ADDRESSES": "192.0.2.1 2001:db8::2",
            "ALLOW_PRIVATE_ADDRESSES": "on",
            "EDGE_STATUS": "http://127.0.0.1:8081/, http://10.0.0.2:8081",
            "RESERVED_HOSTNAMES": "www.provider.test,autoconfig.provider.test",
            "WORKER_THREADS": "4",
            "PREFLIGHT": "",
            "DATABASE_URL": "postgresql://u@h/db",
        }
    )
    assert settings.edge_keyring == Path("/etc/keyring")
    assert settings.resolver == ("127.0.0.1:8053", "[2001:db8::1]:53", "192.0.2.53")
    assert settings.edge_public_addresses == ("192.0.2.1", "2001:db8::2")
    assert settings.edge_status == ("http://127.0.0.1:8081", "http://10.0.0.2:8081")
    assert settings.allow_private_addresses is True
    assert settings.reserved_hostnames == ("www.provider.test", "autoconfig.provider.test")
    assert settings.worker_threads == 4
    assert settings.preflight is True, "empty counts as not set"
    assert settings.database_url == "postgresql+psycopg://u@h/db"


def test_the_port_alone_is_enough() -> None:
    assert from_environment({"CONTROL_PORT": "9000"}).control_bind == "127.0.0.1:9000"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PREFLIGHT", "maybe", "PREFLIGHT must be on or off, not 'maybe'"),
        ("WORKER_THREADS", "0", "WORKER_THREADS must be a whole number from 1 to 256, not '0'"),
        ("PREFLIGHT_PORT", "http", "PREFLIGHT_PORT must be a whole number from 1 to 65535, not 'http'"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL must be a URL of the form"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must be a URL of the form"),
        ("ACME_DIRECTORY_URL", "http://ca.example/dir", "must be an https:// URL"),
        ("EDGE_PUBLIC_ADDRESSES", "edge.example", "must list IP addresses"),
        ("RESOLVER", "127.0.0.1:99999", "RESOLVER must be a whole number from 1 to 65535"),
        ("EDGE_STATUS", "127.0.0.1:8081", "EDGE_STATUS must be a URL of the form http://…"),
        ("RESERVED_HOSTNAMES", "a.test WWW.a.test", "RESERVED_HOSTNAMES: hostname must be lowercase: www.a.test"),
        ("RESERVED_HOSTNAMES", "*.a.test", "RESERVED_HOSTNAMES: hostname must not be a wildcard"),
        ("PRIMARY_HOSTNAME", "https://mail.a.test/", "PRIMARY_HOSTNAME: hostname must be a name alone"),
        ("CONTROL_BIND", "8480", "CONTROL_BIND must be address:port"),
        ("ACME_EAB_KID", "kid", "ACME_EAB_KID and ACME_EAB_HMAC_KEY belong together"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_in_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        from_environment({name: value})
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1:14000", "localhost", "[::1]:14000", "127.8.8.8"])
def test_acme_on_this_machine_may_be_plain(host: str) -> None:
    url = f"http://{host}/dir"
    assert from_environment({"ACME_DIRECTORY_URL": url}).acme_directory_url == url


@pytest.mark.parametrize("url", NO_DIRECTORIES)
def test_what_is_no_address_of_a_ca_is_refused(url: str) -> None:
    for name in ("ACME_DIRECTORY_URL", "ACME_FALLBACK_DIRECTORY_URL"):
        with pytest.raises(InvalidSetting, match=f"{name} must "):
            from_environment({name: url})


def test_a_name_that_nobody_reads_is_reported_with_the_nearest() -> None:
    found = unknown_names(
        {
            "ACME_DIRECTROY_URL": "x",
            "EDGE_KEYRNG": "x",
            "WORKER_ZZZ": "x",
            "PATH": "x",
            "EDGE_ID": "x",
        }
    )
    assert found == [
        "ACME_DIRECTROY_URL is not a setting: did you mean ACME_DIRECTORY_URL?",
        "EDGE_KEYRNG is not a setting: did you mean EDGE_KEYRING?",
        "WORKER_ZZZ is not a setting: it has no effect",
    ]


def test_secrets_do_not_show() -> None:
    settings = from_environment(
        {"DATABASE_URL": "postgresql://u:pw@h/db", "ACME_EAB_KID": "k", "ACME_EAB_HMAC_KEY": "hush"}
    )
    assert "pw" not in repr(settings)
    assert "hush" not in repr(settings)
