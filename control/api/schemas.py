"""Shapes of requests and answers; rules stand in `hostname` and `models`."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from control import endpoint, limits
from control import hostname as hostnames
from control.models import LOGO_FIELDS, THEME_FIELDS
from control.reasons import REASONS
from control.registry import Wish

LARGEST = 2**53 - 1
LARGEST_ID = 2**31 - 1
STATUSES = ("pending", "ready", "failed")
COLOUR = validate.Regexp(r"\A#[0-9a-fA-F]{6}\Z", error="write it as #rrggbb, or null")


def _domain(text: str) -> None:
    try:
        hostnames.parse(text)
    except hostnames.InvalidHostname as problem:
        raise ValidationError(str(problem).replace("hostname", "domain", 1)) from problem


class WishSchema(Schema):
    """The body of a PUT; fields left out keep their value."""

    domains = fields.List(fields.String(validate=_domain), validate=validate.Length(max=1000))
    enabled = fields.Boolean(truthy={True}, falsy={False})
    owner = fields.String(
        allow_none=True,
        validate=validate.Regexp(r"\A[\x21-\x7e]{1,64}\Z", error="1 to 64 printable characters"),
    )
    generation = fields.Integer(strict=True, validate=validate.Range(0, LARGEST))
    hsts_max_age = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(0, 2**31 - 1)
    )

    @post_load
    def wish(self, data: dict[str, Any], **_: Any) -> Wish:
        """As the registry takes it."""
        return Wish(**data)


class PatchSchema(WishSchema):
    """The body of a PATCH; `owner` only says who asks."""

    class Meta:
        """Everything of a PUT but domains and generation."""

        exclude = ("domains", "generation")


class ForceSchema(Schema):
    """Take a virtual host from its owner."""

    force = fields.Boolean(load_default=False)


class PatchQuery(ForceSchema):
    """Who asks, where the body does not say."""

    owner = fields.String()


class DeleteQuery(PatchQuery):
    """Which write this is the answer to."""

    generation = fields.Integer(validate=validate.Range(0, LARGEST))


class WaitQuery(Schema):
    """How long to wait for a status that is not `pending`."""

    wait = fields.Float(
        load_default=0.0,
        allow_nan=False,
        validate=validate.Range(0, 60),
        metadata={"description": "seconds"},
    )


class PageQuery(Schema):
    """How much of a list, and after what."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 500))
    after = fields.String(load_default="", validate=validate.Length(max=300))


class ListQuery(PageQuery):
    """Filters, and where the page begins."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    enabled = fields.Boolean()
    q = fields.String(validate=validate.Length(max=253))
    domain = fields.String(validate=validate.Length(max=253))
    expires_before = fields.AwareDateTime(format="iso")
    owner = fields.String(validate=validate.Length(max=64))
    reason = fields.String(
        validate=validate.OneOf(sorted(REASONS)),
        metadata={"description": "why it waits or failed"},
    )


class ProblemSchema(Schema):
    """Why it is not ready: `actor` says who must act."""

    step = fields.String()
    reason = fields.String()
    actor = fields.String(validate=validate.OneOf(("tenant", "operator", "ca", "nobody")))
    detail = fields.String(allow_none=True)
    hint = fields.String()
    next_attempt_at = fields.AwareDateTime(format="iso", allow_none=True)
    record = fields.String(allow_none=True, metadata={"description": "the DNS record to set"})


class CertificateSchema(Schema):
    """What edges serve; never a key."""

    source = fields.String(validate=validate.OneOf(("acme", "uploaded")))
    issuer = fields.String()
    serial = fields.String()
    sha256 = fields.String()
    sans = fields.List(fields.String())
    not_before = fields.AwareDateTime(format="iso")
    not_after = fields.AwareDateTime(format="iso")
    renew_at = fields.AwareDateTime(format="iso", allow_none=True)


class LinkSchema(Schema):
    """One certificate of a chain."""

    subject = fields.String()
    issuer = fields.String()
    not_after = fields.AwareDateTime(format="iso")
    sha256 = fields.String()


class ChainedCertificateSchema(CertificateSchema):
    """The same with its chain, leaf first."""

    chain = fields.List(fields.Nested(LinkSchema))


class LogosSchema(Schema):
    """URLs below this server, or null."""

    login = fields.String(allow_none=True)
    menu = fields.String(allow_none=True)
    creation_form = fields.String(allow_none=True)


class ColoursSchema(Schema):
    """`#rrggbb` or null; in a PATCH what is left out stays, in a PUT it is taken away."""

    primary = fields.String(allow_none=True, validate=COLOUR)
    primary_light = fields.String(allow_none=True, validate=COLOUR)
    primary_dark = fields.String(allow_none=True, validate=COLOUR)
    secondary = fields.String(allow_none=True, validate=COLOUR)
    label = fields.String(allow_none=True, validate=COLOUR)


class ThemeSchema(ColoursSchema):
    """Colours and where the logos are."""

    logos = fields.Nested(LogosSchema)


class ServedBySchema(Schema):
    """One live edge and the revision it has applied."""

    edge = fields.String()
    revision = fields.Integer()


class ListedHostSchema(Schema):
    """A virtual host in the list."""

    hostname = fields.String()
    kind = fields.String(validate=validate.OneOf(("primary", "tenant")))
    domains = fields.List(fields.String())
    enabled = fields.Boolean()
    owner = fields.String(allow_none=True)
    generation = fields.Integer()
    hsts_max_age = fields.Integer(allow_none=True)
    status = fields.String(validate=validate.OneOf(STATUSES))
    step = fields.String()
    error = fields.Nested(ProblemSchema, allow_none=True)
    certificate = fields.Nested(CertificateSchema, allow_none=True)
    theme = fields.Nested(ThemeSchema)
    revision = fields.Integer()
    served_by = fields.List(fields.Nested(ServedBySchema))
    created_at = fields.AwareDateTime(format="iso")
    updated_at = fields.AwareDateTime(format="iso")


class HostSchema(ListedHostSchema):
    """A virtual host (docs/api.md), its certificate with the chain."""

    certificate = fields.Nested(ChainedCertificateSchema, allow_none=True)


class HostPage(Schema):
    """`next` goes into `?after=`; null on the last page."""

    items = fields.List(fields.Nested(ListedHostSchema))
    next = fields.String(allow_none=True)


class UploadSchema(Schema):
    """A certificate of one's own, in PEM: the chain leaf first, the key without a passphrase."""

    chain = fields.String(required=True, validate=validate.Length(max=200_000))
    private_key = fields.String(required=True, load_only=True, validate=validate.Length(max=50_000))


class EventSchema(Schema):
    """One thing that happened."""

    id = fields.Integer()
    at = fields.AwareDateTime(format="iso")
    kind = fields.String()
    hostname = fields.String(allow_none=True)
    actor = fields.String()
    detail = fields.Dict()
    must_act = fields.String(validate=validate.OneOf(("tenant", "operator", "ca", "nobody")))
    hint = fields.String(metadata={"description": "what to do, where the detail has a reason"})
    request_id = fields.String(allow_none=True)
    remote = fields.String(allow_none=True)


class EventQuery(Schema):
    """Newest first; `after` is the id where the page before ended."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 500))
    after = fields.Integer(validate=validate.Range(1, LARGEST_ID))
    kind = fields.String(validate=validate.Length(max=64))


class EventPage(Schema):
    """`next` goes into `?after=`; null on the last page."""

    items = fields.List(fields.Nested(EventSchema))
    next = fields.Integer(allow_none=True)


class EdgeSchema(Schema):
    """A live edge as its heartbeat tells it; `lag` counts revisions."""

    id = fields.String()
    version = fields.String()
    epoch = fields.String()
    revision = fields.Integer()
    hosts = fields.Integer()
    certificates = fields.Integer()
    refused = fields.List(fields.String())
    refusing = fields.Integer()
    kids = fields.List(fields.String())
    last_sync = fields.AwareDateTime(format="iso")
    lag = fields.Integer()


class EdgeList(Schema):
    """All live edges."""

    items = fields.List(fields.Nested(EdgeSchema))
    next = fields.String(allow_none=True)


class CheckSchema(Schema):
    """One check of the preflight, or of a CA."""

    check = fields.String()
    verdict = fields.String(validate=validate.OneOf(("pass", "warn", "fail")))
    reason = fields.String(allow_none=True)
    actor = fields.String(allow_none=True)
    evidence = fields.String(allow_none=True)
    fix = fields.String(allow_none=True)
    record = fields.String(allow_none=True)


class CheckList(Schema):
    """All checks, in order."""

    items = fields.List(fields.Nested(CheckSchema))
    next = fields.String(allow_none=True)


def _directory_url(text: str) -> None:
    try:
        endpoint.check(text, plain=endpoint.on_this_machine)
    except endpoint.BadUrl as problem:
        raise ValidationError(str(problem)) from problem


def _limits(text: str) -> None:
    try:
        limits.parse(text)
    except ValueError as problem:
        raise ValidationError(str(problem)) from problem


class SettingsSchema(Schema):
    """What an administrator changes at run time (docs/parameters.md)."""

    acme_enabled = fields.Boolean(truthy={True}, falsy={False})
    edge_enabled = fields.Boolean(truthy={True}, falsy={False})
    acme_directory_url = fields.String(validate=[validate.Length(max=500), _directory_url])
    acme_email = fields.Email(allow_none=True)
    acme_profile = fields.String(allow_none=True, validate=validate.Length(1, 64))
    acme_preferred_issuer = fields.String(
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={
            "description": "common name at the top of the chain to take, where there are several"
        },
    )
    acme_limits = fields.String(
        allow_none=True,
        validate=[validate.Length(1, 500), _limits],
        metadata={"description": "rate limits of the CA, e.g. new_orders=300/3h"},
    )
    renewal_threshold_days = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(1, 365)
    )
    preflight_enabled = fields.Boolean(truthy={True}, falsy={False})
    hsts_max_age = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(0, 2**31 - 1)
    )


class ReservedSchema(Schema):
    """Names that no virtual host may have, besides `localhost` and the primary hostname."""

    items = fields.List(fields.String())


class AuthoritySchema(Schema):
    """The CA to try."""

    acme_directory_url = fields.String(
        required=True, validate=[validate.Length(max=500), _directory_url]
    )


class WebhookSchema(Schema):
    """Where events go."""

    url = fields.String(required=True, validate=validate.Length(1, 500))
    kinds = fields.List(
        fields.String(validate=validate.Regexp(r"\A[a-z_]{1,64}\Z", error="a kind of event")),
        validate=validate.Length(max=100),
        metadata={"description": "only events of these kinds; none: every event"},
    )
    secret = fields.String(
        load_only=True,
        validate=validate.Regexp(
            r"\A[\x21-\x7e]{16,128}\Z", error="16 to 128 printable characters"
        ),
        metadata={"description": "what signs the events; made here where a new one has none"},
    )


class WebhookShownSchema(Schema):
    """How far it has been told, and why not further."""

    name = fields.String()
    url = fields.String()
    kinds = fields.List(fields.String())
    created_at = fields.AwareDateTime(format="iso")
    told = fields.Integer(metadata={"description": "the id of the last event that was taken"})
    attempts = fields.Integer()
    next_attempt_at = fields.AwareDateTime(format="iso", allow_none=True)
    error = fields.String(allow_none=True)


class WebhookMadeSchema(WebhookShownSchema):
    """The same with the secret that was made, which cannot be shown again."""

    secret = fields.String(allow_none=True)


class WebhookList(Schema):
    """All webhooks."""

    items = fields.List(fields.Nested(WebhookShownSchema))
    next = fields.String(allow_none=True)


class ErrorSchema(Schema):
    """Every error: the sentence is `message`, faults by field are `errors`."""

    code = fields.Integer()
    status = fields.String()
    message = fields.String()
    errors = fields.Dict()


assert set(ColoursSchema().fields) == set(THEME_FIELDS)  # noqa: S101 # one list of colours
assert set(LogosSchema().fields) == set(LOGO_FIELDS)  # noqa: S101 # one list of places
