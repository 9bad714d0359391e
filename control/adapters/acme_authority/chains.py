"""What the CA issued: a PEM chain that is one, and which of several to take (RFC 8555 §7.4.2)."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from control.adapters.acme_authority.wire import Answer
from control.ports import AuthorityError

_LINK = re.compile(r"<([^>]*)>([^<]*)")
_ALTERNATE = re.compile(r';\s*rel="?alternate"?(?=[;,\s]|$)')


def parse(answer: Answer) -> list[x509.Certificate]:
    """The certificates of a download, leaf first; AuthorityError `ca_unreadable` when there are none."""
    try:
        return x509.load_pem_x509_certificates(answer.body)
    except ValueError as error:
        raise AuthorityError("ca_unreadable", f"{answer.url} is no PEM chain: {error}") from error


def alternates(answer: Answer) -> list[str]:
    """The URLs of the other chains that the CA offers for this certificate (RFC 8288 links)."""
    links = ",".join(answer.headers.get_all("Link", []))
    return [url for url, parameters in _LINK.findall(links) if _ALTERNATE.search(parameters)]


def tops_out_at(answer: Answer, issuer: str) -> bool:
    """Whether the issuer of the chain's last certificate has the common name `issuer`."""
    names = parse(answer)[-1].issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(name.value == issuer for name in names)
