"""JSON lines on standard error, with everything that looks like a secret taken out."""

from __future__ import annotations

import logging
import logging.config
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(
    r"token$|secret|password|authorization|private|hmac|sealed|(^|_)key$", re.I
)
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bBearer\s+\S+"
    r"|\bedge_[A-Za-z0-9_-]{20,}"
    r"|\bv1:[A-Za-z0-9_.-]+:[A-Za-z0-9+/=]{40,}"
    r"|(?<=://)[^/@\s:]*:[^/@\s]+(?=@)",
    re.S,
)
HIDDEN = "[hidden]"
NAMES_KEPT = frozenset({"token"})
"""Fields that hold the name of a token and not the token."""


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Hide values by name and by look; the last processor before rendering."""
    for name, value in event.items():
        hide = SECRET_NAMES.search(name) and name not in NAMES_KEPT and value is not None
        event[name] = HIDDEN if hide else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {
            k: HIDDEN if SECRET_NAMES.search(str(k)) and k not in NAMES_KEPT else _clean(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def settings() -> dict[str, Any]:
    """The standard library's logging configuration, with structlog's rendering."""
    before = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    after = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(default=str),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": before,
                "processors": after,
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {"alembic": {"level": "WARNING"}, "gunicorn.error": {"level": "INFO"}},
    }


def configure() -> None:
    """Log like this from now on."""
    logging.config.dictConfig(settings())


logconfig_dict = settings()
"""What gunicorn reads when this module is its configuration."""
