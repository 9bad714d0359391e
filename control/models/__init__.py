"""The records and the rules each keeps about itself; the state machine."""

from __future__ import annotations

from control.models.certificate import Account, Certificate, LimitLevel, Order, Pause
from control.models.journal import Counter, EdgeState, Event, Logo, Setting, Token, edge_state
from control.models.record import Moment, Record
from control.models.runtime import RuntimeSettings
from control.models.virtual_host import (
    LOGO_FIELDS,
    LOGO_PATH,
    THEME_FIELDS,
    Domain,
    DomainTaken,
    NotFailed,
    NotRenewable,
    OlderGeneration,
    OwnedElsewhere,
    PrimaryFixed,
    VirtualHost,
    locked,
)
from control.models.webhook import Webhook

__all__ = [
    "LOGO_FIELDS",
    "LOGO_PATH",
    "THEME_FIELDS",
    "Account",
    "Certificate",
    "Counter",
    "Domain",
    "DomainTaken",
    "EdgeState",
    "Event",
    "LimitLevel",
    "Logo",
    "Moment",
    "NotFailed",
    "NotRenewable",
    "OlderGeneration",
    "Order",
    "OwnedElsewhere",
    "Pause",
    "PrimaryFixed",
    "Record",
    "RuntimeSettings",
    "Setting",
    "Token",
    "VirtualHost",
    "Webhook",
    "edge_state",
    "locked",
]
