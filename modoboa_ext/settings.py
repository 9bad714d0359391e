"""What the extension changes in Modoboa's settings, and what an operator may set in `VIRTUALHOSTS`."""

from __future__ import annotations

from typing import Any

FIRST = "modoboa_ext.middleware.HostMiddleware"
LAST = "modoboa_ext.middleware.IsolationMiddleware"
VALIDATOR = "modoboa_ext.oauth.TenantValidator"
TOKENS = "modoboa_ext.authentication.TenantTokenAuthentication"
OAUTH = "oauth2_provider.contrib.rest_framework.OAuth2Authentication"
PLAIN_TOKENS = "rest_framework.authentication.TokenAuthentication"

DEFAULTS: dict[str, Any] = {
    "CONTROL_URL": None,
    "CONTROL_TOKEN": None,
    "PRIMARY_HOSTNAME": None,
    "ALLOW_RESELLERS": False,
    "SCOPE_DATA": True,
    "LICENSE_KEY": None,
    "LICENSE_ENDPOINT": None,
}


def apply(target: dict[str, Any]) -> None:
    """Change the settings module's namespace `target` in place; harmless when called twice.

    `deploy --extensions` writes the call at the end of Modoboa's settings.py. What an operator sets
    after it wins, and `checks` says so when that takes a part of the isolation away.
    """
    from modoboa_ext.allowed_hosts import LiveHosts

    others = [name for name in target.get("MIDDLEWARE", ()) if name not in (FIRST, LAST)]
    target["MIDDLEWARE"] = (FIRST, *others, LAST)
    static = list.__iter__(list(target.get("ALLOWED_HOSTS", ())))
    target["ALLOWED_HOSTS"] = LiveHosts(name.lower() for name in static)
    target["OAUTH2_PROVIDER"] = {
        **target.get("OAUTH2_PROVIDER", {}),
        "OAUTH2_VALIDATOR_CLASS": VALIDATOR,
    }
    rest = dict(target.get("REST_FRAMEWORK", {}))
    classes = rest.get("DEFAULT_AUTHENTICATION_CLASSES", ())
    rest["DEFAULT_AUTHENTICATION_CLASSES"] = tuple(
        TOKENS if name == PLAIN_TOKENS else name for name in classes
    )
    target["REST_FRAMEWORK"] = rest
    # The edge overwrites this header on every request; over uwsgi_params it agrees with HTTPS.
    target.setdefault("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https"))
    target["LOGGING"] = logging_with_jobs(target.get("LOGGING", {"version": 1}))


def logging_with_jobs(logging: dict[str, Any]) -> dict[str, Any]:
    """`logging` with the logger `modoboa.jobs` on standard error, unless it is configured already."""
    if "modoboa.jobs" in logging.get("loggers", {}):
        return logging
    handler = {"class": "logging.StreamHandler", "formatter": "virtualhosts"}
    formatter = {"format": "%(asctime)s %(name)s: %(levelname)s %(message)s"}
    logger = {"handlers": ["virtualhosts"], "level": "INFO", "propagate": False}
    return {
        **logging,
        "formatters": {**logging.get("formatters", {}), "virtualhosts": formatter},
        "handlers": {**logging.get("handlers", {}), "virtualhosts": handler},
        "loggers": {**logging.get("loggers", {}), "modoboa.jobs": logger},
    }


def option(name: str) -> Any:
    """The value of `VIRTUALHOSTS[name]`, or its default; KeyError for a name that does not exist."""
    from django.conf import settings

    default = DEFAULTS[name]
    return getattr(settings, "VIRTUALHOSTS", {}).get(name, default)
