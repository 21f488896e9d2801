"""Django settings. An installation is configured by environment variables:

TRIALDECK_DATA        data folder (default: var beside manage.py; for an installed console ~/.trialdeck/data)
DATABASE_URL          PostgreSQL instead of SQLite in the data folder
REDIS_URL             an external broker instead of the embedded Valkey
TRIALDECK_SECRET_KEY  instead of the one generated into the data folder
TRIALDECK_FORMER_SECRET_KEYS  previous keys, comma-separated, to read what they encrypted
TRIALDECK_HOSTS       additional host names of the console, comma-separated
TRIALDECK_ORIGINS     https://… origins of a reverse proxy, comma-separated
TRIALDECK_EMAIL_URL   smtps://user:password@host[:465] (or smtp+starttls://, smtp://): password resets by e-mail
TRIALDECK_EMAIL_FROM  sender of e-mails
TRIALDECK_URL         https://… address of the console in notifications (default: the first of TRIALDECK_ORIGINS)
TRIALDECK_WEBHOOK_NETWORKS  private networks that webhooks may post to, comma-separated, such as 10.0.0.0/8;
                      others are refused
TRIALDECK_REMOTE_USER_HEADER  trust this header of a proxy for sign-in; see docs/admin/people.md first
TRIALDECK_TRUSTED_PROXIES     addresses of reverse proxies, comma-separated
TRIALDECK_OIDC_ISSUER  OpenID provider for sign-in; with it _CLIENT_ID, _CLIENT_SECRET and optionally
                      _NAME, _SCOPES, _ALGORITHM, _KNOWS_BY, _ADMITS, _GROUPS; see docs/admin/people.md
TRIALDECK_STATIC      folder for collected static files (default: staticfiles beside manage.py; for an installed
                      console in the data folder)
TRIALDECK_DEBUG       1 for development: error pages with tracebacks, static files without a manifest
TRIALDECK_API_RATE    API requests per token or user: 600/min by default, 0 for no limit
TRIALDECK_REQUIRE_TWO_FACTOR  administrators, or all: who signs in with a password must turn on two-factor
TRIALDECK_TOKEN_DAYS  longest life of new API tokens in days: 0 for no limit, by default
TRIALDECK_AUDIT_DAYS  days that entries of the audit log are kept: 400 by default
TRIALDECK_METRICS_TOKEN  token for GET /metrics (Prometheus); without it, there are no metrics
TRIALDECK_LOG_FORMAT  json: one JSON object in each line of a log (default: text)
TRIALDECK_LEASE_S     seconds of silence after which a worker counts as lost (default: 15; 120 with REDIS_URL)
TZ                    time zone of the pages (default: UTC)
"""

import hashlib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from console import data_folder, database, secret_key
from console.auth import provider
from experiments import broker


def _listed(name: str) -> list[str]:
    return [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]


def _chosen(name: str) -> str:
    """Return the value of an environment variable, stripped."""
    return os.environ.get(name, "").strip()


def _networks(name: str, advice: str) -> list[IPv4Network | IPv6Network]:
    """Return the networks in an environment variable."""
    try:
        return [ip_network(network) for network in _listed(name)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. {advice}") from error


def _default_data() -> Path:
    """Return the folder beside manage.py in a checkout, otherwise the folder in which the Python client starts a
    console."""
    if not IS_INSTALLED:
        return ROOT / "var"
    from trialdeck import discovery  # imported here, because a checkout does not need it

    return discovery.home() / "data"


PACKAGE = Path(__file__).resolve().parent
IS_INSTALLED = (PACKAGE / "templates").is_dir()  # from a wheel, which contains them in the package
ROOT = PACKAGE if IS_INSTALLED else PACKAGE.parent  # where templates, static files and examples are
DEFAULT_DATA = _default_data()
DATA = Path(os.environ.get("TRIALDECK_DATA") or DEFAULT_DATA).expanduser().absolute()
DEBUG = os.environ.get("TRIALDECK_DEBUG") == "1"

try:
    TRIAL_UMASK = data_folder.prepare(DATA)  # of the user who started the console
    SECRET_KEY = os.environ.get("TRIALDECK_SECRET_KEY") or secret_key.read_or_make(DATA / "secret")
except OSError as error:
    raise ImproperlyConfigured(
        f"The data folder {DATA} cannot be used: {error.strerror}. Choose another one with TRIALDECK_DATA."
    ) from error
except data_folder.NotPrivate as error:
    raise ImproperlyConfigured(str(error)) from error

SECRET_KEY_FALLBACKS = _listed("TRIALDECK_FORMER_SECRET_KEYS")

# Host names of the console. TRIALDECK_ORIGINS has those of a reverse proxy; when all of them are https,
# cookies are sent over https only and the proxy's X-Forwarded-Proto is trusted.
CSRF_TRUSTED_ORIGINS = _listed("TRIALDECK_ORIGINS")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *_listed("TRIALDECK_HOSTS")]
ALLOWED_HOSTS += [urlsplit(origin).hostname or "" for origin in CSRF_TRUSTED_ORIGINS]
IS_BEHIND_HTTPS = bool(CSRF_TRUSTED_ORIGINS) and all(o.startswith("https://") for o in CSRF_TRUSTED_ORIGINS)

CONSOLE_URL = (_chosen("TRIALDECK_URL") or next(iter(CSRF_TRUSTED_ORIGINS), "")).rstrip("/")
if CONSOLE_URL and not (urlsplit(CONSOLE_URL).scheme in ("http", "https") and urlsplit(CONSOLE_URL).hostname):
    raise ImproperlyConfigured("TRIALDECK_URL must look like https://trialdeck.example.org.")

# Webhooks may post to public addresses only, unless their network is listed here.
WEBHOOK_NETWORKS = _networks(
    "TRIALDECK_WEBHOOK_NETWORKS", "Give networks such as 10.0.0.0/8, separated by commas."
)

# Proxies trusted for the client address (X-Forwarded-For), and with TRIALDECK_REMOTE_USER_HEADER for the signed-in
# user.
TRUSTED_PROXIES = _networks(
    "TRIALDECK_TRUSTED_PROXIES",
    "Give addresses such as 10.0.0.5, or networks such as 10.0.0.0/24, separated by commas.",
)
for _proxy in TRUSTED_PROXIES:
    if _proxy.prefixlen == 0:
        raise ImproperlyConfigured(
            f"TRIALDECK_TRUSTED_PROXIES: {_proxy} covers all addresses. List only your proxies."
        )
REMOTE_USER_HEADER = _chosen("TRIALDECK_REMOTE_USER_HEADER")
if REMOTE_USER_HEADER and not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", REMOTE_USER_HEADER):
    raise ImproperlyConfigured(
        "TRIALDECK_REMOTE_USER_HEADER must be the name of a header, such as X-Remote-User."
    )
if REMOTE_USER_HEADER and not TRUSTED_PROXIES:
    raise ImproperlyConfigured(
        "TRIALDECK_REMOTE_USER_HEADER needs TRIALDECK_TRUSTED_PROXIES: from other addresses, anyone "
        "could set the header."
    )
OPENID = provider.from_environment(os.environ)

INSTALLED_APPS = [
    "experiments",
    "console.admin_site.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "csp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "experiments.web.account.audit_entries.AuditOrigin",
    "experiments.web.ui.middleware.Compressed",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "experiments.web.ui.middleware.Timed",
    "csp.middleware.CSPMiddleware",
    "experiments.web.ui.middleware.Private",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "experiments.web.account.sessions.KnownSessions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "experiments.web.ui.reader_zone.ReaderZone",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "experiments.web.ui.middleware.Htmx",
    "experiments.web.ui.query_checks.QueryChecks",
    "experiments.web.ui.middleware.Refusals",
    "experiments.api.protocol.middleware.JsonErrorMiddleware",
]
if REMOTE_USER_HEADER:
    MIDDLEWARE.insert(
        MIDDLEWARE.index("django.contrib.messages.middleware.MessageMiddleware"),
        "console.auth.remote_user.ProxyUserMiddleware",
    )
ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": [
                "experiments.templatetags.live",
                "experiments.templatetags.actions",
                "experiments.templatetags.memoized",
                "experiments.templatetags.repeated_parts",
                "experiments.templatetags.short_text",
            ],
        },
    },
]

# ATOMIC_REQUESTS stays off: with IMMEDIATE, every GET would take SQLite's only write lock.
_database_url = os.environ.get("DATABASE_URL", "").strip()
DATABASES = {
    "default": database.postgres(_database_url) if _database_url else database.sqlite(DATA / "db.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "experiments.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = [
    "experiments.web.account.sign_in_limit.FailedSignInLimit",
    "django.contrib.auth.backends.ModelBackend",
    *(["console.auth.remote_user.ProxyUserBackend"] if REMOTE_USER_HEADER else []),
    *(["console.auth.openid.OpenIDBackend"] if OPENID else []),
]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
    # Rendered charts, up to half a megabyte each; a new version of the data has a new key.
    "charts": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "charts",
        "TIMEOUT": 600,
        "OPTIONS": {"MAX_ENTRIES": 80},
    },
}
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"

# Browsers share cookies between the ports of a host: two consoles on one machine must not sign each other out. A new
# secret key does not sign anybody out either, as long as the oldest one is still listed.
_mark = hashlib.sha256(b"cookie:" + [SECRET_KEY, *SECRET_KEY_FALLBACKS][-1].encode()).hexdigest()[:8]
SESSION_ENGINE = "experiments.web.account.session_store"
SESSION_COOKIE_NAME = f"trialdeck_session_{_mark}"
CSRF_COOKIE_NAME = f"trialdeck_csrf_{_mark}"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_BEHIND_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_BEHIND_HTTPS else None
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if IS_BEHIND_HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
SILENCED_SYSTEM_CHECKS = [  # of `check --deploy`
    "security.W005",  # other hosts below this name, and
    "security.W021",  # browsers' preload lists: not for one console to decide
    "security.W008",  # the proxy redirects to https; programs on this machine use http
]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Email. Without a server, EMAIL_HOST is empty and no page offers to send email.
_email = urlsplit(_chosen("TRIALDECK_EMAIL_URL"))
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
try:
    EMAIL_PORT = _email.port or _PORTS.get(_email.scheme, 25)
    EMAIL_HOST = _email.hostname or ""
    if _email.geturl() and not (EMAIL_HOST and _email.scheme in _PORTS):
        raise ValueError
except ValueError as error:
    raise ImproperlyConfigured(
        "TRIALDECK_EMAIL_URL must look like smtps://user:password@host:465, smtp+starttls://… or smtp://…; "
        "write special characters of the password as %xx."
    ) from error
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_email.username or ""), unquote(_email.password or "")
EMAIL_USE_SSL, EMAIL_USE_TLS = _email.scheme == "smtps", _email.scheme == "smtp+starttls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = _chosen("TRIALDECK_EMAIL_FROM") or (
    EMAIL_HOST_USER if "@" in EMAIL_HOST_USER else f"trialdeck@{EMAIL_HOST or 'localhost'}"
)

# API requests per token, or per user's session.
API_RATE = _chosen("TRIALDECK_API_RATE") or "600/min"
if not re.fullmatch("[0-9]{1,9}(/(s|min|h))?", API_RATE):
    raise ImproperlyConfigured("TRIALDECK_API_RATE must look like 600/min, 20/s or 5000/h; 0 means no limit.")

REQUIRE_SECOND_FACTOR = _chosen("TRIALDECK_REQUIRE_TWO_FACTOR")
if REQUIRE_SECOND_FACTOR not in ("", "administrators", "all"):
    raise ImproperlyConfigured(
        f"TRIALDECK_REQUIRE_TWO_FACTOR must be administrators or all, not {REQUIRE_SECOND_FACTOR!r}."
    )

_token_days = _chosen("TRIALDECK_TOKEN_DAYS") or "0"
if not re.fullmatch("[0-9]{1,5}", _token_days):
    raise ImproperlyConfigured(
        f"TRIALDECK_TOKEN_DAYS must be a number of days, or 0 for no limit, not {_token_days!r}."
    )
TOKEN_DAYS = int(_token_days)

_audit_days = _chosen("TRIALDECK_AUDIT_DAYS") or "400"
if not re.fullmatch("[0-9]{1,5}", _audit_days) or int(_audit_days) < 1:
    raise ImproperlyConfigured(f"TRIALDECK_AUDIT_DAYS must be 1 or more days, not {_audit_days!r}.")
AUDIT_DAYS = int(_audit_days)

# Prometheus sends it as a bearer token.
METRICS_TOKEN = _chosen("TRIALDECK_METRICS_TOKEN")

# For forms with a diff of a million characters, or groups of a thousand rows.
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "experiments.web.ui.upload_handler.TidyUploadHandler",
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = os.environ.get("TZ", "").removeprefix(":") or "UTC"

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("TRIALDECK_STATIC") or (DATA if IS_INSTALLED else ROOT) / "staticfiles")
STATIC_ROOT = STATIC_ROOT.expanduser().absolute()
STATICFILES_DIRS = [ROOT / "static"] if (ROOT / "static").is_dir() else []
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "console.static_files.Storage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG

# Celery messages are only hints: work that must happen is a row. So messages are acknowledged early, no results are
# stored, and a lost message only causes a delay.
CELERY_BROKER_URL = os.environ.get("REDIS_URL") or broker.url(DATA)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 5,
    # How long one poll of the broker lasts, in seconds. A worker that is asked to stop waits for the current one.
    "polling_interval": 0.3,
    # For senders: a web request must not wait for an unavailable broker; the beat discovers the work in the rows.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker retries forever
# Also if the broker answers with errors: full, read-only, failing over.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_CONSUMER = "console.consumer:PatientConsumer"
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"

LOG_FORMAT = _chosen("TRIALDECK_LOG_FORMAT") or "text"
if LOG_FORMAT not in ("text", "json"):
    raise ImproperlyConfigured(f"TRIALDECK_LOG_FORMAT must be text or json, not {LOG_FORMAT!r}.")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
            "datefmt": "%Y-%m-%d %H:%M:%S",
        },
        "json": {"()": "console.json_log.JsonFormatter"},
    },
    "filters": {"brief about full disks": {"()": "console.log_filters.BriefAboutFullDisks"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["brief about full disks"],
            "formatter": "json" if LOG_FORMAT == "json" else "line",
        }
    },
    "root": {"handlers": ["stderr"], "level": os.environ.get("TRIALDECK_LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Four log lines per message are too many.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}

# Wherever Django runs, messages are sent by Celery's app. Not in console/__init__.py: the supervisor imports that, too.
import console.celery  # noqa: E402, F401
