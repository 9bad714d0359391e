"""AcmeAuthority: the port CertificateAuthority spoken to one ACME directory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from josepy.b64 import b64encode

from control.adapters.acme_authority import chains, documents, problems, renewal_info, retry_after
from control.adapters.acme_authority.signing import Signer
from control.adapters.acme_authority.wire import Answer, Wire, is_loopback
from control.ports import (
    Account,
    AccountUnknown,
    AuthorityError,
    Challenge,
    DirectoryMeta,
    ExternalAccountBinding,
    Order,
    OrderGone,
    RenewalInfo,
)

USER_AGENT = "modoboa-edge/0.1 (acme client)"
DIRECTORY_LIFE = timedelta(hours=1)
# How CAs say that they do not know an order when it is asked for: 404, or "not yours".
_UNKNOWN_ORDER = {"ca_malformed", "ca_not_found", "ca_unauthorized"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AcmeAuthority:
    """One ACME CA; see `control.ports.CertificateAuthority` for what each method promises.

    Longer than most: each public method is one resource of RFC 8555 §7, and they share only the wire.
    """

    def __init__(
        self,
        directory_url: str,
        *,
        ca_bundle: str | None = None,
        timeout: float = 8.0,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
        user_agent: str = USER_AGENT,
    ) -> None:
        """Nothing is asked yet; `ca_bundle` is a PEM file trusted besides the system's, `timeout` seconds."""
        self.directory_url = directory_url
        self._now = now
        self._sleep = sleep
        self._wire = Wire(
            directory_url,
            ca_bundle=ca_bundle,
            timeout=timeout,
            now=now,
            sleep=sleep,
            user_agent=user_agent,
        )
        self._directory: tuple[datetime, dict[str, Any]] | None = None  # and until when it serves
        self._no_directory: tuple[datetime, AuthorityError] | None = None
        self._directory_lock = threading.Lock()
        # Pebble, the CA of tests and demos, deadlocks when newOrder meets a read of an authorization.
        gate = threading.Lock() if is_loopback(directory_url) else None
        self._gate: Callable[[], AbstractContextManager[object]] = (
            (lambda: gate) if gate else nullcontext
        )

    # The directory (§7.1.1)

    def meta(self) -> DirectoryMeta:
        """See the port."""
        return documents.meta(self._read_directory())

    def _read_directory(self) -> dict[str, Any]:
        """The directory, at most an hour old; an older one serves while the CA cannot be asked.

        One thread asks; those that waited for it share what it found out, a failure too.
        """
        with self._directory_lock:
            if self._directory and self._now() < self._directory[0]:
                return self._directory[1]
            if self._no_directory and self._now() < self._no_directory[0]:
                known = self._no_directory[1]
                raise AuthorityError(known.reason, known.detail, not_before=known.not_before)
            try:
                directory = self._wire.get(self.directory_url).object()
            except AuthorityError as error:
                if self._directory is None:
                    self._no_directory = (self._now() + timedelta(seconds=2), error)
                    raise
                again = self._now() + timedelta(minutes=1)
                again = max(again, error.not_before or again)
                self._directory = (again, self._directory[1])
                return self._directory[1]
            self._directory, self._no_directory = (self._now() + DIRECTORY_LIFE, directory), None
            return directory

    def _endpoint(self, name: str) -> str:
        """A URL of the directory; AuthorityError `ca_unreadable|ca_foreign_endpoint`."""
        url = self._read_directory().get(name)
        if not isinstance(url, str):
            raise AuthorityError("ca_unreadable", f"{self.directory_url} lists no {name}")
        return self._wire.check(url)

    def _post(
        self,
        url: str,
        signer: Signer,
        payload: Mapping[str, Any] | None = None,
        readable: Callable[[Answer], object] = Answer.object,
    ) -> Answer:
        new_nonce = self._endpoint("newNonce")
        try:
            return self._wire.post(url, signer, payload, new_nonce=new_nonce, readable=readable)
        except AuthorityError as error:
            if error.reason == "ca_not_found":
                self._directory = None  # its endpoints may have moved
            raise

    # Accounts (§7.3)

    def register(
        self, account: Account, email: str | None, binding: ExternalAccountBinding | None = None
    ) -> Account:
        """See the port."""
        signer = Signer(account.key)
        payload: dict[str, Any] = {"termsOfServiceAgreed": True}
        if email:
            payload["contact"] = [f"mailto:{email}"]
        if binding:
            payload["externalAccountBinding"] = self._bind(signer, binding)
        elif self.meta().external_account_required:
            raise AuthorityError(
                "eab_required", f"{self.directory_url} requires an external account"
            )
        with _binding_errors(binding):
            answer = self._post(self._endpoint("newAccount"), signer, payload)
        return replace(account, uri=self._wire.check(answer.location))

    def _bind(self, signer: Signer, binding: ExternalAccountBinding) -> dict[str, Any]:
        try:
            return signer.bind(binding, self._endpoint("newAccount"))
        except (ValueError, TypeError) as error:
            raise AuthorityError("eab_refused", "the HMAC key is not base64url text") from error

    def roll_over(self, account: Account, new_key: bytes) -> Account:
        """See the port. Repeating it after a lost answer finds the new key in place and succeeds."""
        rolled = replace(account, key=new_key)
        url = self._endpoint("keyChange")
        old, new = Signer.of(account), Signer(new_key)
        inner = new.sign(_json({"account": account.uri, "oldKey": old.public_jwk()}), url, None)
        try:
            self._post(url, old, json.loads(inner), readable=_anything)
        except AuthorityError:
            if self.find_account(rolled) != account.uri:
                raise
        return rolled

    def find_account(self, account: Account) -> str | None:
        """See the port."""
        try:
            answer = self._post(
                self._endpoint("newAccount"), Signer(account.key), {"onlyReturnExisting": True}
            )
        except AccountUnknown:
            return None
        return self._wire.check(answer.location)

    # Orders (§7.4)

    def new_order(
        self,
        account: Account,
        hostname: str,
        *,
        profile: str | None = None,
        replaces: str | None = None,
    ) -> Order:
        """See the port. Where the CA cannot place `replaces`, the order is made once more without it."""
        payload: dict[str, Any] = {"identifiers": [{"type": "dns", "value": hostname}]}
        meta = self.meta()
        if profile and profile in meta.profiles:
            payload["profile"] = profile
        identifier = _certificate_id(replaces) if replaces and meta.renewal_info else None
        if identifier:
            payload["replaces"] = identifier
        try:
            return self._order(account, payload)
        except AuthorityError as error:
            if not identifier or not _blames_replaces(error):
                raise
        del payload["replaces"]
        return self._order(account, payload)

    def _order(self, account: Account, payload: Mapping[str, Any]) -> Order:
        with self._gate():
            answer = self._post(self._endpoint("newOrder"), Signer.of(account), payload)
        return documents.order(answer, self._wire.check(answer.location))

    def fetch_order(self, account: Account, url: str) -> Order:
        """See the port."""
        order, _ = self._look(account, url)
        if order.status == "invalid":
            raise OrderGone("order_gone", f"the order {url} is invalid")
        return order

    def _look(self, account: Account, url: str) -> tuple[Order, Answer]:
        with _gone(_UNKNOWN_ORDER):
            answer = self._post(url, Signer.of(account))
        return documents.order(answer, url), answer

    def challenges(self, account: Account, order: Order) -> Sequence[Challenge]:
        """See the port."""
        signer = Signer.of(account)
        found = []
        for url in order.authorizations:
            authorization = self._authorization(signer, url)
            if authorization.get("status") == "pending":
                found.append(documents.challenge(authorization, signer))
            elif authorization.get("status") != "valid":
                raise problems.failed_validation(documents.challenge_problem(authorization))
        return found

    def _authorization(self, signer: Signer, url: str) -> dict[str, Any]:
        with self._gate(), _gone():
            return self._post(url, signer).object()

    def answer(self, account: Account, challenge: Challenge) -> None:
        """See the port."""
        try:
            with _gone():
                self._post(challenge.url, Signer.of(account), {})
        except AuthorityError as error:
            # The authorization is not pending any more: its verdict is read from the order.
            if error.reason != "ca_malformed":
                raise

    def wait_ready(self, account: Account, order: Order, seconds: float = 90) -> Order:
        """See the port."""
        current, asked_back = self._watch(account, order.url, seconds, {"pending"})
        if current.status == "pending":
            words = f"no verdict on {order.url} in {seconds:g} s"
            raise AuthorityError("validation_slow", words, not_before=asked_back)
        return current

    def finalize(self, account: Account, order: Order, csr: bytes, seconds: float = 90) -> Order:
        """See the port. An order that was finalized before is only waited for."""
        first = None
        try:
            payload = {"csr": b64encode(csr).decode()}
            with _gone():
                answer = self._post(order.finalize, Signer.of(account), payload)
            if documents.order(answer, order.url).status == "valid":
                return documents.order(answer, order.url)
            first = answer.not_before
        except AuthorityError as error:
            if not (error.problem and error.problem.type == "orderNotReady"):
                raise
        unfinished = {"pending", "ready", "processing"}
        current, asked_back = self._watch(account, order.url, seconds, unfinished, first)
        if current.status in unfinished:
            words = f"{order.url} is not issued after {seconds:g} s"
            raise AuthorityError("issuance_slow", words, not_before=asked_back)
        return current

    def _watch(
        self,
        account: Account,
        url: str,
        seconds: float,
        unfinished: Collection[str],
        first: datetime | None = None,
    ) -> tuple[Order, datetime | None]:
        """Look until the order leaves `unfinished` or `seconds` are over; raise why it is invalid.

        The first look is some milliseconds from now, or at `first`; the others when the CA asks, else
        ever later. Returns the order and when the CA wants to be asked again.
        """
        now = self._now()
        deadline = now + timedelta(seconds=seconds)
        asked_back = min(first, deadline) if first else None
        for pause in retry_after.looks():
            again = max(asked_back or now, now + timedelta(seconds=pause))
            if again > deadline:
                break
            self._sleep((again - now).total_seconds())
            order, answer = self._look(account, url)
            if order.status == "invalid":
                raise self._why_invalid(account, order)
            now, asked_back = self._now(), answer.not_before
            if order.status not in unfinished:
                break
        return order, asked_back

    def _why_invalid(self, account: Account, order: Order) -> AuthorityError:
        """What made the order invalid: a challenge's problem, else the order's own (§7.1.3)."""
        for url in order.authorizations:
            authorization = self._authorization(Signer.of(account), url)
            problem = documents.challenge_problem(authorization)
            if authorization.get("status") != "valid" and problem:
                return problems.failed_validation(problem)
        own = problems.read(self._post(order.url, Signer.of(account)).object().get("error"))
        if own:
            return problems.refusal(own, 403, own.detail, None)
        return OrderGone("order_gone", f"the order {order.url} is invalid")

    # Certificates (§7.4.2, §7.6, RFC 9773)

    def download(self, account: Account, order: Order, preferred_issuer: str | None = None) -> str:
        """See the port."""
        if not order.certificate:
            raise AuthorityError("ca_unreadable", f"the order {order.url} names no certificate")
        signer = Signer.of(account)
        with _gone():
            first = self._post(order.certificate, signer, readable=chains.parse)
        if preferred_issuer and not chains.tops_out_at(first, preferred_issuer):
            for url in chains.alternates(first):
                other = self._post(url, signer, readable=chains.parse)
                if chains.tops_out_at(other, preferred_issuer):
                    return other.body.decode()
        return first.body.decode()

    def renewal_info(self, certificate: str) -> RenewalInfo | None:
        """See the port. None too for a certificate that has expired or that the CA does not know."""
        leaf = x509.load_pem_x509_certificate(certificate.encode())
        identifier = renewal_info.certificate_id(leaf)
        if not self.meta().renewal_info or not identifier or leaf.not_valid_after_utc < self._now():
            return None
        url = f"{self._endpoint('renewalInfo').rstrip('/')}/{identifier}"
        try:
            answer = self._wire.get(url)
        except AuthorityError as error:
            if error.reason in ("ca_not_found", "ca_malformed"):
                return None
            raise
        return renewal_info.read(answer.object(), answer.not_before, self._now())

    def revoke(self, account: Account, certificate: str, reason: int = 0) -> None:
        """See the port."""
        leaf = x509.load_pem_x509_certificate(certificate.encode())
        der = b64encode(leaf.public_bytes(Encoding.DER)).decode()
        try:
            payload = {"certificate": der, "reason": reason}
            self._post(
                self._endpoint("revokeCert"), Signer.of(account), payload, readable=_anything
            )
        except AuthorityError as error:
            if not (error.problem and error.problem.type == "alreadyRevoked"):
                raise


def _anything(answer: Answer) -> None:
    """For answers whose body says nothing."""


@contextmanager
def _gone(reasons: Collection[str] = ("ca_not_found",)) -> Iterator[None]:
    """While a part of an order is asked for, these refusals mean that the CA has lost the order."""
    try:
        yield
    except AuthorityError as error:
        if error.reason in reasons:
            raise OrderGone("order_gone", error.detail, problem=error.problem) from error
        raise


def _json(document: Mapping[str, Any]) -> bytes:
    """`document` as JSON bytes."""
    return json.dumps(document).encode()


@contextmanager
def _binding_errors(binding: ExternalAccountBinding | None) -> Iterator[None]:
    """While an external account is being bound, a refusal is about the binding."""
    try:
        yield
    except AuthorityError as error:
        if binding and error.reason in ("ca_unauthorized", "ca_malformed", "ca_refused"):
            raise AuthorityError("eab_refused", error.detail, problem=error.problem) from error
        raise


def _certificate_id(certificate: str) -> str | None:
    return renewal_info.certificate_id(x509.load_pem_x509_certificate(certificate.encode()))


def _blames_replaces(error: AuthorityError) -> bool:
    """Whether an order might be accepted without `replaces`: the CA does not know that certificate."""
    return bool(error.problem and error.problem.type in ("malformed", "notFound", "unauthorized"))
