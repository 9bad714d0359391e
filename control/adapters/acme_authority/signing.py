"""What an account's key does: sign requests, bind external accounts, prove a key authorization."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from typing import Any

from acme import messages
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from josepy.b64 import b64encode
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from control.ports import Account, ExternalAccountBinding


class Signer:
    """Signs with an ES256 key: by `kid` for an account that has a URI, else by the key itself."""

    def __init__(self, key: bytes, kid: str = "") -> None:
        """Take the PKCS#8 DER of a P-256 key; ValueError for any other key."""
        private = load_der_private_key(key, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
            raise ValueError("an account key must be an EC key on P-256 (ES256)")
        self._jwk = JWKEC(key=ComparableECKey(private))
        self._kid = kid or None

    @classmethod
    def of(cls, account: Account) -> Signer:
        """The signer of an account; the last few are remembered, since reading a key costs as much as signing."""
        return _signer(account.key, account.uri)

    def sign(self, payload: bytes, url: str, nonce: bytes | None) -> str:
        """The flattened JWS of `payload` for `url` (RFC 8555 §6.2); empty payload is POST-as-GET."""
        header: dict[str, Any] = {"alg": "ES256", "url": url}
        header |= {"kid": self._kid} if self._kid else {"jwk": self.public_jwk()}
        if nonce is not None:
            header["nonce"] = b64encode(nonce).decode()
        protected, body = (b64encode(part).decode() for part in (_json(header), payload))
        signature = ES256.sign(self._jwk.key, f"{protected}.{body}".encode())
        whole = {
            "protected": protected,
            "payload": body,
            "signature": b64encode(signature).decode(),
        }
        return json.dumps(whole)

    def public_jwk(self) -> dict[str, Any]:
        """The public key as JWK."""
        jwk: dict[str, Any] = json.loads(self._jwk.public_key().json_dumps())
        return jwk

    def bind(self, binding: ExternalAccountBinding, new_account_url: str) -> dict[str, Any]:
        """The externalAccountBinding object (RFC 8555 §7.3.4); ValueError for a key that is no base64url."""
        directory = messages.Directory({"newAccount": new_account_url})
        return messages.ExternalAccountBinding.from_data(
            self._jwk.public_key(), binding.kid, binding.hmac_key, directory
        )

    def key_authorization(self, token: str) -> str:
        """The body that answers the HTTP-01 challenge with `token` (RFC 8555 §8.1)."""
        return f"{token}.{self._thumbprint}"

    @cached_property
    def _thumbprint(self) -> str:
        return str(b64encode(self._jwk.thumbprint(hash_function=hashes.SHA256)).decode())


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


@lru_cache(maxsize=4)
def _signer(key: bytes, uri: str) -> Signer:
    return Signer(key, uri)
