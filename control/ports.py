"""What we ask of the outside: a certificate authority, the edges' store, a resolver; and how each may fail.

An adapter turns its library's exceptions into the errors here, `from` the original. Reasons are the
stable codes of `control.reasons`; times are aware datetimes in UTC; nothing here does any work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol


class PortError(Exception):
    """Something outside did not do what was asked of it.

    `reason` is a code of `control.reasons`, `detail` the other side's own words, `not_before` the
    earliest moment at which asking again makes sense (Retry-After), where the other side named one.
    """

    def __init__(self, reason: str, detail: str, *, not_before: datetime | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.not_before = not_before


@dataclass(frozen=True)
class Problem:
    """A CA's problem document (RFC 8555 §6.7): `type` without its URN prefix, its words, its parts."""

    type: str
    detail: str
    identifier: str | None = None
    subproblems: tuple[Problem, ...] = ()
    instance: str | None = None


class AuthorityError(PortError):
    """The CA refused, or could not be reached; `problem` is what it said, where it said anything."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        problem: Problem | None = None,
        not_before: datetime | None = None,
    ) -> None:
        super().__init__(reason, detail, not_before=not_before)
        self.problem = problem


class AccountUnknown(AuthorityError):
    """The CA does not know the account (any more): register again, then go on (RFC 8555 §7.3)."""


class OrderGone(AuthorityError):
    """The CA does not know the order (any more), or it became invalid: make a new one."""


class AlreadyReplaced(AuthorityError):
    """The certificate named in `replaces` has a successor: order again without it (RFC 9773 §5)."""


@dataclass(frozen=True)
class Account:
    """An ACME account; `key` is the PKCS#8 DER of an ES256 key, `uri` empty until registered."""

    directory_url: str
    key: bytes = field(repr=False)
    uri: str = ""


@dataclass(frozen=True)
class ExternalAccountBinding:
    """What an EAB CA hands out beforehand (RFC 8555 §7.3.4); `hmac_key` is base64url text."""

    kid: str
    hmac_key: str = field(repr=False)


@dataclass(frozen=True)
class Challenge:
    """One HTTP-01 challenge still to answer; `key_authorization` is the body port 80 must give."""

    hostname: str
    url: str
    token: str
    key_authorization: str


@dataclass(frozen=True)
class Order:
    """An order as the CA last told it (RFC 8555 §7.1.3): `pending|ready|processing|valid|invalid`."""

    url: str
    status: str
    hostnames: tuple[str, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True)
class RenewalInfo:
    """What ARI suggests (RFC 9773 §4.2); ask again at `next_poll`, already clamped to 1 min … 1 day."""

    start: datetime
    end: datetime
    next_poll: datetime
    explanation_url: str | None = None


@dataclass(frozen=True)
class DirectoryMeta:
    """What the CA's directory says of itself (RFC 8555 §7.1.1, §9.7.6 and ACME profiles)."""

    terms_of_service: str | None = None
    caa_identities: tuple[str, ...] = ()
    external_account_required: bool = False
    profiles: tuple[str, ...] = ()
    renewal_info: bool = False


class CertificateAuthority(Protocol):
    """One ACME CA with one account. Calls block, retry what is safe to retry, and raise AuthorityError.

    Every object that comes back can be stored and used again in another process: an order is resumed
    by `fetch_order(url)`. Safe to be called from many threads.
    """

    directory_url: str

    def meta(self) -> DirectoryMeta:
        """The directory's meta object; cached for an hour."""

    def register(
        self, account: Account, email: str | None, binding: ExternalAccountBinding | None = None
    ) -> Account:
        """newAccount, or the account that this key already has; agrees to the terms (§7.3, §7.3.1)."""

    def find_account(self, account: Account) -> str | None:
        """The URI of the account that this key has at the CA; None where it has none. Makes none (§7.3.1)."""

    def roll_over(self, account: Account, new_key: bytes) -> Account:
        """keyChange (§7.3.5): the same account with `new_key` (PKCS#8 DER).

        Repeating it after a lost answer finds the new key in place and succeeds.
        """

    def new_order(
        self,
        account: Account,
        hostname: str,
        *,
        profile: str | None = None,
        replaces: str | None = None,
    ) -> Order:
        """newOrder for one hostname; `replaces` is a PEM certificate (ARI certID is made from it).

        Raises AlreadyReplaced, AccountUnknown. A profile the CA does not offer is left out.
        """

    def fetch_order(self, account: Account, url: str) -> Order:
        """The order as it is now; OrderGone when the CA has lost it or it is `invalid`."""

    def challenges(self, account: Account, order: Order) -> Sequence[Challenge]:
        """HTTP-01 challenges of its pending authorizations; empty when all are valid already."""

    def answer(self, account: Account, challenge: Challenge) -> None:
        """Tell the CA to look (§7.5.1); harmless when it already has."""

    def wait_ready(self, account: Account, order: Order, seconds: float = 90) -> Order:
        """Poll (obeying Retry-After) until `ready`, `processing` or `valid`.

        A failed authorization raises AuthorityError with the challenge's problem and subproblems;
        no verdict in `seconds` is `validation_slow`: the order can be looked at again later.
        """

    def finalize(self, account: Account, order: Order, csr: bytes, seconds: float = 90) -> Order:
        """Send the DER CSR once the order is `ready` and poll until `valid` (§7.4).

        An order that was finalized before is only waited for; `issuance_slow` after `seconds`.
        """

    def download(self, account: Account, order: Order, preferred_issuer: str | None = None) -> str:
        """The chain as PEM, leaf first; the alternate whose top issuer's CN matches, where asked."""

    def renewal_info(self, certificate: str) -> RenewalInfo | None:
        """ARI for a PEM certificate; None where the CA does not offer it, or does not know it (any more)."""

    def revoke(self, account: Account, certificate: str, reason: int = 0) -> None:
        """revokeCert (§7.6) with a RFC 5280 §5.3.1 reason; already revoked is not an error."""


@dataclass(frozen=True)
class AddressAnswer:
    """What DNS says of a hostname: the CNAMEs followed, then every address of both families."""

    cnames: tuple[str, ...]
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]


@dataclass(frozen=True)
class CaaRecord:
    """One CAA record (RFC 8659 §4): flags, tag in lower case, value as it stands."""

    flags: int
    tag: str
    value: str


@dataclass(frozen=True)
class CaaAnswer:
    """The relevant record set (RFC 8659 §3): found at `owner` on the way up; empty when none is."""

    owner: str | None
    records: tuple[CaaRecord, ...]


class Resolver(Protocol):
    """DNS as the public sees it. Raises PortError `dns_nxdomain|dns_servfail|dns_timeout`."""

    def addresses(self, hostname: str) -> AddressAnswer:
        """A and AAAA, CNAMEs followed; both families empty when the name has neither."""

    def caa(self, hostname: str) -> CaaAnswer:
        """Climb the tree until a CAA record set is found."""


@dataclass(frozen=True)
class ProbeAnswer:
    """What port 80 answered: the status, at most 4 kB of the body, and which address was asked."""

    address: str
    status: int
    body: bytes


class HttpProbe(Protocol):
    """Fetches our own probe token as the CA would. Never follows to another host, 2 s and 4 kB at most."""

    def get(self, hostname: str, address: str, port: int, path: str) -> ProbeAnswer:
        """GET http://hostname:port/path from `address`; PortError `port80_unreachable|address_private`.

        A redirect is an answer like any other.
        """


class NotTold(Exception):
    """A message did not get to its receiver, or the receiver may not be asked; the text says why."""


class Messenger(Protocol):
    """Posts to a receiver that the operator named. Never follows a redirect; a few seconds at most."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer; NotTold where there is none, or the address is not a public one."""


@dataclass(frozen=True)
class EdgeHost:
    """Everything the edges need to know of one host: what one publish writes (docs/redis.md).

    `state` `deleted` leaves a tombstone. `change` counts the record's changes: the store refuses an
    older one than it has, so that a worker that lost its lease cannot undo what came after it.
    """

    hostname: str
    kind: str
    state: str
    domains: tuple[str, ...]
    theme: dict[str, str]
    hsts_max_age: int | None
    generation: int
    change: int
    updated_at: datetime
    certificate: EdgeCertificate | None = None


@dataclass(frozen=True)
class EdgeCertificate:
    """A certificate as edges read it: PEM chain (leaf first) and the sealed key, never an open one."""

    chain: str
    sealed_key: str = field(repr=False)
    spki: str
    sha256: str
    not_before: datetime
    not_after: datetime
    issuer: str
    serial: str
    sans: tuple[str, ...]


@dataclass(frozen=True)
class EdgeReport:
    """One edge's heartbeat: who it is, the epoch and revision it has applied, what it refused.

    `refused` names a hundred hosts at most; `refusing` counts all of them.
    """

    edge: str
    epoch: str
    revision: int
    hosts: int
    certificates: int
    refused: tuple[str, ...]
    kids: tuple[str, ...]
    last_sync: datetime
    version: str
    refusing: int = 0

    def takes(self, hostname: str) -> bool | None:
        """Whether it takes what was published of a host; None when it refuses more hosts than it names."""
        if hostname in self.refused:
            return False
        return None if self.refusing > len(self.refused) else True


@dataclass(frozen=True)
class StoreSummary:
    """What a cheap look at the copy shows; `complete` is the epoch of the last finished rebuild."""

    epoch: str | None
    complete: str | None
    revision: int
    hosts: int


class StoreUnavailable(PortError):
    """Redis cannot be asked now, or refused a write; nothing was published."""


class PublishRefused(PortError):
    """The one publish script said no; `why` is `epoch`, `generation` or `lease`."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__("publish_refused", detail)
        self.why = why


class Heard(Enum):
    """What came of listening: a nudge; a connection, the first or a new one, before which nothing was heard."""

    NOTHING = 0
    NUDGE = 1
    CONNECTED = 2


class EdgeStore(Protocol):
    """The copy of the truth that edges read (docs/redis.md). Raises StoreUnavailable, PublishRefused."""

    def publish(
        self,
        host: EdgeHost,
        *,
        epoch: str,
        at_least: int,
        challenges: Sequence[Challenge] = (),
        forget: Sequence[str] = (),
    ) -> int:
        """Write everything of one host atomically; returns its revision, above `at_least` and `vh:rev`.

        `challenges` are answered on port 80 for an hour, the tokens in `forget` no longer.
        """

    def republish(self, hosts: Sequence[EdgeHost], *, epoch: str, at_least: int) -> list[int]:
        """Write many hosts, whatever the copy holds of them: the truth wins. Revisions in order."""

    def begin(self, epoch: str) -> None:
        """Start a rebuild under a new epoch: absence means nothing until `complete`."""

    def complete(self, epoch: str, hosts: int) -> None:
        """End a rebuild: from now on a host that is absent does not exist."""

    def index(self) -> dict[str, int]:
        """Every hostname with its revision, tombstones too."""

    def changes(self, hostnames: Sequence[str]) -> list[int | None]:
        """The `change` that the copy holds of each host; None where its data are missing."""

    def show(self, hostname: str) -> Mapping[str, str]:
        """What edges read of one host, field by field; empty when they know nothing."""

    def purge(self, tombstones: Mapping[str, int]) -> None:
        """Forget tombstones by hostname and revision, and raise the floor over them."""

    def remove(self, hostnames: Sequence[str]) -> None:
        """Take foreign hosts out of a copy that is being rebuilt: edges drop what is absent at its end."""

    def drop_challenge(self, hostname: str, token: str) -> None:
        """Forget one key authorization."""

    def edges(self) -> Sequence[EdgeReport]:
        """Every live edge, by id."""

    def summary(self) -> StoreSummary:
        """A cheap look at the whole."""

    def nudge(self) -> None:
        """Wake the workers: something is due. Never raises; they look by themselves every second."""

    def listen(self, seconds: float) -> Heard:
        """Block until there is something to hear or `seconds` have passed; one thread at a time."""
