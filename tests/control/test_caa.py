"""CAA values as CAs read them, also the malformed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control import caa
from control.ports import CaaRecord


@pytest.mark.parametrize(
    ("value", "ca", "parameters"),
    [
        ("letsencrypt.org", "letsencrypt.org", ()),
        ("  LetsEncrypt.org. ", "letsencrypt.org", ()),
        (";", "", ()),
        ("", "", ()),
        ("ca.example; a=1;b = 2 ;", "ca.example", (("a", "1"), ("b", "2"))),
        ("; policy=ev", "", (("policy", "ev"),)),
        (
            "ca.example; accounturi=https://x/1?a=b",
            "ca.example",
            (("accounturi", "https://x/1?a=b"),),
        ),
    ],
)
def test_values(value: str, ca: str, parameters: tuple[tuple[str, str], ...]) -> None:
    parsed = caa.parse(value)
    assert parsed
    assert (parsed.ca, parsed.parameters) == (ca, parameters)


@pytest.mark.parametrize(
    "value", ["ca.example; novalue", "ca example", "ca.example; a=b c", "%%%%%; x"]
)
def test_what_is_malformed_allows_nobody(value: str) -> None:
    assert caa.verdict([CaaRecord(0, "issue", value)], ["ca.example"], "") == "caa_forbids"


def test_two_accounts_in_one_value_allow_nobody() -> None:
    value = "ca.example; accounturi=https://a/1; accounturi=https://a/2"
    assert (
        caa.verdict([CaaRecord(0, "issue", value)], ["ca.example"], "") == "caa_account_forbidden"
    )


records = st.lists(
    st.builds(
        CaaRecord,
        st.integers(0, 255),
        st.sampled_from(["issue", "issuewild", "iodef", "tbs", "accounturi"]) | st.text(max_size=9),
        st.text(max_size=60)
        | st.sampled_from(["ca.example", ";", "ca.example; validationmethods=http-01"]),
    ),
    max_size=5,
)


@given(records, st.lists(st.text(max_size=20), max_size=3), st.text(max_size=30))
def test_nothing_that_dns_can_hold_breaks_the_verdict(
    found: list[CaaRecord], identities: list[str], account: str
) -> None:
    reason = caa.verdict(found, identities, account)
    if not identities and any(record.tag == "issue" for record in found):
        assert reason


@given(records)
def test_a_set_that_names_nobody_but_others_never_allows_us(found: list[CaaRecord]) -> None:
    others = [*found, CaaRecord(0, "issue", "other.example")]
    values = [caa.parse(record.value) for record in others if record.tag == "issue"]
    named = any(value and value.ca == "ours.example" for value in values)
    assert named or caa.verdict(others, ["ours.example"], "") is not None
