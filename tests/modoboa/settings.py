"""Modoboa's settings for the suite, as its own template has them; Redis runs on a unix socket of this process."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import dj_database_url
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from modoboa_ext import settings as extension

PRIMARY = "mail.provider.test"
BASE_DIR = tempfile.mkdtemp(prefix="modoboa-suite-")
SECRET_KEY = "for tests only"
DEBUG = False
ALLOWED_HOSTS = [PRIMARY]
SITE_ID = 1


def start_redis() -> str:
    """A Redis for this process alone; the path of its socket."""
    socket = os.path.join(BASE_DIR, "redis.sock")
    argv = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""]
    process = subprocess.Popen([*argv, "--dir", BASE_DIR], stdout=subprocess.DEVNULL)
    atexit.register(shutil.rmtree, BASE_DIR, ignore_errors=True)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    deadline = time.monotonic() + 10
    while not Path(socket).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return socket


def private_key() -> str:
    """A key for id_tokens, small because nobody trusts it."""
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return pem.decode()


X_FRAME_OPTIONS = "SAMEORIGIN"
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_SECURE = True

INSTALLED_APPS = (
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
    "django.contrib.staticfiles",
    "reversion",
    "oauth2_provider",
    "corsheaders",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "phonenumber_field",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "django_rename_app",
    "django_rq",
)
MODOBOA_APPS = (
    "modoboa",
    "modoboa.core",
    "modoboa.lib",
    "modoboa.admin",
    "modoboa.autoconfig",
    "modoboa.transport",
    "modoboa.relaydomains",
    "modoboa.limits",
    "modoboa.parameters",
    "modoboa.dnstools",
    "modoboa.policyd",
    "modoboa.maillog",
    "modoboa.pdfcredentials",
    "modoboa.dmarc",
    "modoboa.imap_migration",
    "modoboa.autoreply",
    "modoboa.sievefilters",
    "modoboa.contacts",
    "modoboa.calendars",
    "modoboa.webmail",
    "modoboa_ext",
)
INSTALLED_APPS += MODOBOA_APPS
AUTH_USER_MODEL = "core.User"
MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "x_forwarded_for.middleware.XForwardedForMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "modoboa.core.middleware.LocalConfigMiddleware",
    "modoboa.lib.middleware.CommonExceptionCatcher",
    "modoboa.lib.middleware.RequestCatcherMiddleware",
)
AUTHENTICATION_BACKENDS = (
    "django.contrib.auth.backends.ModelBackend",
    "modoboa.imap_migration.auth_backends.IMAPBackend",
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.i18n",
                "django.template.context_processors.media",
                "django.template.context_processors.static",
                "django.template.context_processors.tz",
                "django.contrib.messages.context_processors.messages",
                "modoboa.core.context_processors.theme",
            ],
            "debug": DEBUG,
        },
    },
]
ROOT_URLCONF = "modoboa.urls"

DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ.get("DBURL", "sqlite:///:memory:")),
        "ATOMIC_REQUESTS": True,
    }
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_L10N = True
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
STATIC_URL = "/sitestatic/"
STATIC_ROOT = os.path.join(BASE_DIR, "sitestatic")
MEDIA_URL = "/media/"
MEDIA_ROOT = os.path.join(BASE_DIR, "media")
WEBMAIL_ATTACHMENTS_ROOT = os.path.join(BASE_DIR, "webmail_attachments")

OAUTH2_PROVIDER = {
    "OIDC_ENABLED": True,
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
    "OIDC_RSA_PRIVATE_KEY": private_key(),
    "SCOPES": {
        "openid": "OpenID Connect scope",
        "read": "Read scope",
        "write": "Write scope",
        "introspection": "Introspect token scope",
    },
    "DEFAULT_SCOPES": ["openid", "read", "write"],
}
UNLIMITED = "1000000/second"
REST_FRAMEWORK = {
    "DEFAULT_THROTTLE_RATES": {
        "user": UNLIMITED,
        "ddos": UNLIMITED,
        "ddos_lesser": UNLIMITED,
        "login": UNLIMITED,
        "password_recovery_request": UNLIMITED,
        "password_recovery_totp_check": UNLIMITED,
        "password_recovery_apply": UNLIMITED,
    },
    "DEFAULT_AUTHENTICATION_CLASSES": (
        "oauth2_provider.contrib.rest_framework.OAuth2Authentication",
        "rest_framework.authentication.TokenAuthentication",
    ),
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
}
SPECTACULAR_SETTINGS = {
    "SCHEMA_PATH_PREFIX": r"/api/v[0-9]",
    "TITLE": "Modoboa API",
    "VERSION": None,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_FILTER_INSPECTORS": [
        "drf_spectacular.contrib.django_filters.DjangoFilterBackendInspector",
    ],
    "SERVERS": [{"url": f"https://{PRIMARY}", "description": "Modoboa Mail Server"}],
}
AUTH_PASSWORD_VALIDATORS = [
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ),
    {
        "NAME": "modoboa.core.password_validation.ComplexityValidator",
        "OPTIONS": {"upper": 1, "lower": 1, "digits": 1, "specials": 0},
    },
]
MODOBOA_API_URL = "https://api.modoboa.org/1/"
DISABLE_DASHBOARD_EXTERNAL_QUERIES = True
PID_FILE_STORAGE_PATH = BASE_DIR
EMAIL_CLIENT_CONNECTION_SETTINGS = {
    "imap": {"HOSTNAME": PRIMARY, "SOCKET_TYPE": "SSL", "PORT": 993},
    "smtp": {"HOSTNAME": PRIMARY, "SOCKET_TYPE": "STARTTLS", "PORT": 587},
}
REDIS_HOST = "localhost"
REDIS_PORT = 6379
REDIS_QUOTA_DB = 0
REDIS_URL = f"unix://{start_redis()}?db=0"
RQ_QUEUES = {name: {"URL": REDIS_URL} for name in ("dkim", "modoboa", "dovecot", "privileged")}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
OTP_TOTP_ISSUER = PRIMARY
PHONENUMBER_DB_FORMAT = "INTERNATIONAL"
SILENCED_SYSTEM_CHECKS = ["security.W019"]
LOGGING = {"version": 1, "loggers": {"django": {"handlers": [], "propagate": False}}}
DOVECOT_SUPPORTED_SCHEMES = "PLAIN MD5-CRYPT SHA512-CRYPT"

VIRTUALHOSTS = {
    "CONTROL_URL": "http://127.0.0.1:1",
    "CONTROL_TOKEN": "for tests only",
    "PRIMARY_HOSTNAME": PRIMARY,
}
extension.apply(globals())

if os.environ.get("ONLY_LOGIN_HOOK"):
    # The test of the test: everything of ours but the signal receiver at the login form is taken out.
    MIDDLEWARE = tuple(name for name in MIDDLEWARE if name != extension.LAST)
    del OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]
    REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = (
        "oauth2_provider.contrib.rest_framework.OAuth2Authentication",
        "rest_framework.authentication.TokenAuthentication",
    )
