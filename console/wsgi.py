"""The WSGI entry point: `granian --interface wsgi console.wsgi:application`."""

import logging
import os
import sys
from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from console.garbage_collection import exempt_loaded_code
from console.web_worker import end_with_the_server

if "granian" in sys.modules:  # a server, not a test or a command
    end_with_the_server()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
try:
    application = get_wsgi_application()
except (
    ImproperlyConfigured
) as error:  # an invalid folder or setting: the message is for the user who starts the server
    raise SystemExit(str(error)) from None


def warn_of_faults() -> None:
    """Log a warning if the data folder is not writable, or the database is empty, older or newer. Until this is fixed,
    each page returns 503."""
    from django.conf import settings
    from django.db import DatabaseError, connections

    from console.data_folder import why_not_writable
    from experiments import migration_check

    log = logging.getLogger(__name__)
    if fault := why_not_writable(settings.DATA, choose_by="TRIALDECK_DATA"):
        log.error(fault)
        if connections["default"].vendor == "sqlite":
            return
    try:
        if wrong := migration_check.problem():
            log.error(wrong)
    except DatabaseError as error:
        log.error("The database does not respond: %s", str(error).strip().split("\n")[0])
    finally:
        connections.close_all()


def import_pages() -> None:
    """Import the pages; otherwise, the first request would do so. Remember where addresses lead: looking through the
    200 patterns takes a fifth of the time of a poll."""
    from django.urls import get_resolver

    resolver = get_resolver()
    resolver.url_patterns  # noqa: B018 (imports the views)
    setattr(resolver, "resolve", lru_cache(maxsize=4096)(resolver.resolve))  # noqa: B010  mypy takes it for a method


def prepare_statements() -> None:
    """Have the plain statements of pages prepared on PostgreSQL."""
    from experiments.models import driver

    driver.prepare_here()


if "granian" in sys.modules:
    warn_of_faults()
    import_pages()
    prepare_statements()
    exempt_loaded_code()  # charts create enough objects to trigger collections
