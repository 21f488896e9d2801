"""Database settings: SQLite in the data folder, or PostgreSQL by DATABASE_URL."""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# WAL lets pages read while a trial writes; IMMEDIATE takes the write lock at the start of a transaction, so
# that two read-modify-writes wait for each other instead of failing with "database is locked".
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA mmap_size=134217728;"
    "PRAGMA cache_size=-32000;PRAGMA journal_size_limit=67108864;PRAGMA temp_store=MEMORY;"
    # Pages in the log before they are copied into the database and synced: most pages are written by each transaction.
    "PRAGMA wal_autocheckpoint=4000;",
}

# A worker must notice a dead database connection within its lease. The server ends a transaction whose process hangs
# between two statements: its locks would keep everybody from the experiment until the process continues or ends.
POSTGRES_OPTIONS = {
    "options": "-c idle_in_transaction_session_timeout=60s",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# Query parameters of DATABASE_URL: libpq's names, see "Parameter Key Words" in PostgreSQL's manual.
POSTGRES_PARAMETERS = {
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "require_auth",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
}

FORM = "postgresql://user:password@host:5432/name, or postgresql://user@/name?host=/path/to/socket/folder"


def sqlite(path: Path) -> dict[str, object]:
    """Return Django's settings for the SQLite database in the file `path`."""
    return {
        "ENGINE": "console.sqlite",
        "NAME": str(path),
        "OPTIONS": SQLITE_OPTIONS,
        "CONN_MAX_AGE": 300,
        "TEST": {
            "NAME": str(path.with_name("test.sqlite3"))
        },  # a file, because the workers in tests must see it, too
    }


def postgres(url: str) -> dict[str, object]:
    """Return Django's settings for the PostgreSQL database at `url`.

    Raise ImproperlyConfigured with a message that never contains the URL, which may include a password.
    """
    try:
        parsed_url = urlsplit(url.strip())
        port = parsed_url.port
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL is invalid: {error}. Use {FORM}.") from error
    if parsed_url.scheme not in ("postgresql", "postgres"):
        scheme = f"{parsed_url.scheme}://" if parsed_url.scheme else "no scheme"
        raise ImproperlyConfigured(f"DATABASE_URL has {scheme}; only PostgreSQL is supported: {FORM}.")
    name = unquote(parsed_url.path.removeprefix("/"))
    if not name or "/" in name:
        raise ImproperlyConfigured(f"DATABASE_URL has no database name. Use {FORM}.")
    query = dict(parse_qsl(parsed_url.query, keep_blank_values=True))
    host = query.pop("host", "") or unquote(parsed_url.hostname or "")
    unknown = sorted(query.keys() - POSTGRES_PARAMETERS)
    if unknown:
        raise ImproperlyConfigured(f"DATABASE_URL has an unknown option {unknown[0]!r}. Use {FORM}.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parsed_url.username or ""),
        "PASSWORD": unquote(parsed_url.password or ""),
        "HOST": host,
        "PORT": str(port or ""),
        "OPTIONS": POSTGRES_OPTIONS | query,
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
    }
