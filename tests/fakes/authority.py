"""FakeAuthority: the port CertificateAuthority in memory; it remembers what it was asked."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from control.ports import (
    Account,
    AccountUnknown,
    AlreadyReplaced,
    AuthorityError,
    Challenge,
    DirectoryMeta,
    ExternalAccountBinding,
    Order,
    OrderGone,
    Problem,
    RenewalInfo,
)
from tests.fakes.issuer import Issuer, names_of

Look = Callable[[str, str], str | None]


def _spki(key: bytes) -> bytes:
    public = load_der_private_key(key, None).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class _Held:
    """An order as the CA holds it."""

    order: Order
    account: str
    token: str
    replaces: str | None
    failure: Problem | None = None
    looked: bool = False
    chain: str = ""


@dataclass
class FakeAuthority:
    """A CA that looks at port 80 by `look(hostname, token)` and issues at once.

    `asked` holds `(method, subject)` in order, e.g. `("new_order", "mail.acme.test")`; `refuse` makes
    the next calls of a method fail; `windows` gives ARI windows by hostname; `bindings` are the external
    accounts that came with `register`.
    """

    look: Look
    directory_url: str = "https://fake-ca.test/directory"
    profiles: tuple[str, ...] = ("classic", "shortlived")
    blocked: tuple[str, ...] = ("blocked.example",)
    issuer: Issuer = field(default_factory=Issuer)
    asked: list[tuple[str, str]] = field(default_factory=list)
    windows: dict[str, RenewalInfo] = field(default_factory=dict)
    profiles_asked: list[str | None] = field(default_factory=list)
    revoked: set[int] = field(default_factory=set)
    external_account_required: bool = False
    bindings: list[ExternalAccountBinding | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._accounts: dict[str, bytes] = {}
        self._orders: dict[str, _Held] = {}
        self._replaced: set[str] = set()
        self._refusals: defaultdict[str, deque[AuthorityError]] = defaultdict(deque)
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def refuse(self, method: str, error: AuthorityError, times: int = 1) -> None:
        """Let the next `times` calls of `method` raise `error`."""
        self._refusals[method].extend([error] * times)

    def forget_accounts(self) -> None:
        """Lose every account, as Pebble does at a restart."""
        self._accounts.clear()

    def forget_orders(self) -> None:
        """Lose every order."""
        self._orders.clear()

    def count(self, method: str) -> int:
        """How often `method` was asked."""
        return sum(1 for name, _ in self.asked if name == method)

    def _ask(self, method: str, subject: str) -> None:
        with self._lock:
            self.asked.append((method, subject))
            if self._refusals[method]:
                raise self._refusals[method].popleft()

    def _known(self, account: Account) -> None:
        if self._accounts.get(account.uri) != _spki(account.key):
            raise AccountUnknown("account_unknown", f"no account {account.uri}")

    def _held(self, account: Account, url: str) -> _Held:
        self._known(account)
        held = self._orders.get(url)
        if held is None or held.account != account.uri:
            raise OrderGone("order_gone", f"no order {url}")
        return held

    def meta(self) -> DirectoryMeta:
        """See the port."""
        return DirectoryMeta(
            terms_of_service="https://fake-ca.test/terms",
            caa_identities=("fake-ca.test",),
            external_account_required=self.external_account_required,
            profiles=self.profiles,
            renewal_info=True,
        )

    def register(
        self, account: Account, email: str | None, binding: ExternalAccountBinding | None = None
    ) -> Account:
        """See the port."""
        self.bindings.append(binding)
        self._ask("register", email or "")
        if self.external_account_required and not binding:
            raise AuthorityError("eab_required", "an external account is required")
        spki = _spki(account.key)
        with self._lock:
            for uri, known in self._accounts.items():
                if known == spki:
                    return replace(account, uri=uri)
            uri = f"{self.directory_url}/account/{next(self._numbers)}"
            self._accounts[uri] = spki
        return replace(account, uri=uri)

    def find_account(self, account: Account) -> str | None:
        """See the port."""
        self._ask("find_account", account.directory_url)
        spki = _spki(account.key)
        return next((uri for uri, known in self._accounts.items() if known == spki), None)

    def roll_over(self, account: Account, new_key: bytes) -> Account:
        """See the port."""
        self._ask("roll_over", account.uri)
        if self._accounts.get(account.uri) != _spki(new_key):
            self._known(account)
            self._accounts[account.uri] = _spki(new_key)
        return replace(account, key=new_key)

    def new_order(
        self,
        account: Account,
        hostname: str,
        *,
        profile: str | None = None,
        replaces: str | None = None,
    ) -> Order:
        """See the port."""
        self._ask("new_order", hostname)
        self._known(account)
        self.profiles_asked.append(profile if profile in self.profiles else None)
        if hostname in self.blocked:
            problem = Problem("rejectedIdentifier", f"no certificates for {hostname}", hostname)
            raise AuthorityError("ca_rejected_identifier", problem.detail, problem=problem)
        if replaces and replaces in self._replaced:
            raise AlreadyReplaced("already_replaced", "the certificate has a successor")
        url = f"{self.directory_url}/order/{next(self._numbers)}"
        order = Order(
            url=url,
            status="pending",
            hostnames=(hostname,),
            authorizations=(f"{url}/authorization",),
            finalize=f"{url}/finalize",
            expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=7),
        )
        self._orders[url] = _Held(order, account.uri, secrets.token_urlsafe(32), replaces)
        return order

    def fetch_order(self, account: Account, url: str) -> Order:
        """See the port."""
        self._ask("fetch_order", url)
        held = self._held(account, url)
        if held.order.status == "invalid":
            raise OrderGone("order_gone", f"the order {url} is invalid")
        return held.order

    def challenges(self, account: Account, order: Order) -> Sequence[Challenge]:
        """See the port."""
        held = self._held(account, order.url)
        self._ask("challenges", order.hostnames[0])
        if held.order.status != "pending":
            return []
        token = held.token
        url = f"{order.url}/challenge"
        return [Challenge(order.hostnames[0], url, token, f"{token}.thumbprint")]

    def answer(self, account: Account, challenge: Challenge) -> None:
        """See the port; the CA looks at once."""
        self._ask("answer", challenge.hostname)
        held = self._held(account, challenge.url.removesuffix("/challenge"))
        if held.looked:
            return
        held.looked = True
        if self.look(challenge.hostname, challenge.token) == challenge.key_authorization:
            held.order = replace(held.order, status="ready")
            return
        words = f"The key authorization file of {challenge.hostname} returned 404"
        held.failure = Problem("unauthorized", words, challenge.hostname)
        held.order = replace(held.order, status="invalid")

    def wait_ready(self, account: Account, order: Order, seconds: float = 90) -> Order:
        """See the port; never sleeps."""
        self._ask("wait_ready", order.hostnames[0])
        held = self._held(account, order.url)
        if held.failure:
            raise AuthorityError("port80_wrong_answer", held.failure.detail, problem=held.failure)
        if held.order.status == "pending":
            raise AuthorityError("validation_slow", f"no verdict on {order.url}")
        return held.order

    def finalize(self, account: Account, order: Order, csr: bytes, seconds: float = 90) -> Order:
        """See the port."""
        self._ask("finalize", order.hostnames[0])
        held = self._held(account, order.url)
        if held.order.status == "ready":
            if names_of(csr) != set(order.hostnames):
                raise AuthorityError("ca_rejected_csr", "the names are not those of the order")
            held.chain = self.issuer.chain(self.issuer.issue(csr))
            if held.replaces:
                self._replaced.add(held.replaces)
            held.order = replace(held.order, status="valid", certificate=f"{order.url}/certificate")
        return held.order

    def download(self, account: Account, order: Order, preferred_issuer: str | None = None) -> str:
        """See the port."""
        self._ask("download", order.hostnames[0])
        held = self._held(account, order.url)
        for alternate, (root, _) in enumerate(self.issuer.roots):
            if preferred_issuer and root.subject.rfc4514_string() == f"CN={preferred_issuer}":
                leaf = x509.load_pem_x509_certificate(held.chain.encode())
                return self.issuer.chain(leaf, alternate)
        return held.chain

    def renewal_info(self, certificate: str) -> RenewalInfo | None:
        """See the port; None for a hostname without a window."""
        leaf = x509.load_pem_x509_certificate(certificate.encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hostname = names.get_values_for_type(x509.DNSName)[0]
        self._ask("renewal_info", hostname)
        return self.windows.get(hostname)

    def revoke(self, account: Account, certificate: str, reason: int = 0) -> None:
        """See the port."""
        self._ask("revoke", account.uri)
        self._known(account)
        self.revoked.add(x509.load_pem_x509_certificate(certificate.encode()).serial_number)
