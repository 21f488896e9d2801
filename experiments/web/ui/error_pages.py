"""The pages for unexpected errors, an unavailable database and a full disk."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.views.defaults import server_error

from experiments import migration_check
from experiments.messages import DISK_FULL, database_away
from experiments.runner.tool_process import is_disk_full


def broken(request: HttpRequest) -> HttpResponse:
    """Return 500, or 503 or 507 with the reason. Makes no query unless a table is missing, because the database may be
    broken."""
    error = sys.exc_info()[1]
    if wrong_schema := migration_check.blamed_for(error):
        text = loader.get_template("503.html").render({"reason": wrong_schema})
        return HttpResponse(text, status=503)
    if isinstance(error, OSError) and is_disk_full(str(error)):
        return HttpResponse(loader.get_template("507.html").render({"reason": DISK_FULL}), status=507)
    if not isinstance(error, OperationalError | InterfaceError):
        return server_error(request)
    text = loader.get_template("503.html").render({"reason": database_away(error)})
    return HttpResponse(text, status=503, headers={"Retry-After": "2"})
