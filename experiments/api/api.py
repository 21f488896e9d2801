"""The API as a whole: its rooms, its locks, its errors. django-ninja is heavy: only the web process imports this."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from experiments import __version__

from . import (
    actions,
    artifacts,
    errors,
    events,
    experiments,
    logs,
    metrics,
    nni,
    projects,
    queues,
    registered_models,
    revisions,
    trials,
    uploaded_results,
    workers,
    workspaces,
)
from .auth import Bearer, Session
from .error_response import problem
from .idempotency import told

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
    uploaded_results,
    experiments,
    actions,
    trials,
    metrics,
    logs,
    revisions,
    events,
    queues,
    workers,
    artifacts,
    registered_models,
    nni,
):
    api.add_router("", noun.router)


@csrf_exempt  # else a POST to nowhere would be told of cookies
def unknown(request: HttpRequest) -> HttpResponse:
    """Any other address."""
    return problem(404)


urlpatterns = api.urls[0] + [re_path("", unknown, name="unknown")]
app_name = "api"
