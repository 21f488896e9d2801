"""The WSGI entry point: `granian --interface wsgi console.wsgi:application`."""

import logging
import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
application = get_wsgi_application()


def warn_of_schema() -> None:
    """Log in one sentence that the database is empty, older or newer: each page will answer 503 until it is not."""
    from django.db import DatabaseError, connections

    from experiments import migration_check

    try:
        if wrong := migration_check.problem():
            logging.getLogger(__name__).error(wrong)
    except DatabaseError as error:
        logging.getLogger(__name__).error(
            "The database does not respond: %s", str(error).strip().split("\n")[0]
        )
    finally:
        connections.close_all()


if "granian" in sys.modules:  # a server, not a test or a command
    warn_of_schema()
