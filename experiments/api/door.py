"""The API as a whole: its rooms, its locks, its errors. django-ninja is heavy: only the web process imports this."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from experiments import __version__

from . import (
    acts,
    artifacts,
    errors,
    events,
    experiments,
    logs,
    metrics,
    nni,
    projects,
    queues,
    registry,
    results,
    revisions,
    trials,
    workers,
    workspaces,
)
from .auth import Bearer, Session
from .once import told
from .problems import problem

ABOUT = (
    "The same verbs, rights and sentences as the pages. Times are ISO 8601 in UTC, durations are seconds. "
    'Every error is {"error": word, "detail": sentence, "fields": {name: [sentence]}}. A POST with an '
    "Idempotency-Key acts once: the same request again gives the same answer for 24 hours."
)

api = NinjaAPI(
    title="Trialdeck",
    version=__version__,
    description=ABOUT,
    urls_namespace="api",
    auth=[Bearer(), Session()],
    openapi_url=None,
    docs_url=None,
)
api.add_decorator(told)
errors.tell_in(api)
for noun in (
    workspaces,
    projects,
    results,
    experiments,
    acts,
    trials,
    metrics,
    logs,
    revisions,
    events,
    queues,
    workers,
    artifacts,
    registry,
    nni,
):
    api.add_router("", noun.router)


@csrf_exempt  # else a POST to nowhere would be told of cookies
def unknown(request: HttpRequest) -> HttpResponse:
    """Any other address."""
    return problem(404)


urlpatterns = api.urls[0] + [re_path("", unknown, name="unknown")]
app_name = "api"
