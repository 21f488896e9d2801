"""The API: its routers, authentication and errors. django-ninja is heavy; only the web process imports this."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Router

from trialdeck import __version__

from .compute import queues, workers
from .experiment import actions, events, experiments, imports, revisions, schedules, uploaded_results
from .nni import views
from .protocol import errors, query_names
from .protocol.auth import Bearer, Session
from .protocol.idempotency import json_view
from .trial import artifacts, comments, comparisons, logs, metrics, trials
from .workspace import (
    audit,
    dashboards,
    notifications,
    projects,
    quiet_hours,
    registered_models,
    reports,
    retention,
    saved_views,
    share_links,
    workspaces,
)

DESCRIPTION = (
    "The API follows the same rules and permissions as the pages. Times are ISO 8601 in UTC; durations are in "
    'seconds. Every error is {"error": word, "detail": sentence, "fields": {name: [sentence]}}. A POST with an '
    "Idempotency-Key runs once: repeating the request returns the same response for 24 hours."
)

api = NinjaAPI(
    title="Trialdeck",
    version=__version__,
    description=DESCRIPTION,
    urls_namespace="api",
    auth=[Bearer(), Session()],
    openapi_url=None,
    docs_url=None,
)


def answer_head(router: Router) -> None:
    """Let each GET endpoint of `router` accept HEAD too, as Django's views do: the server drops the body."""
    for path_view in router.path_operations.values():
        for operation in list(path_view.operations):
            if "GET" in operation.methods:
                head = operation.clone()
                head.methods, head.include_in_schema = ["HEAD"], False
                path_view.operations.append(head)


api.add_decorator(json_view)
api.add_decorator(query_names.note_parameters, mode="view")
errors.register_handlers(api)
for module in (
    workspaces,
    projects,
    saved_views,
    dashboards,
    share_links,
    reports,
    uploaded_results,
    experiments,
    imports,
    actions,
    schedules,
    trials,
    comments,
    metrics,
    comparisons,
    logs,
    revisions,
    events,
    queues,
    workers,
    artifacts,
    registered_models,
    views,
    notifications,
    quiet_hours,
    audit,
    retention,
):
    answer_head(module.router)
    api.add_router("", module.router)


@csrf_exempt  # otherwise a POST to an unknown address would get a CSRF error
def unknown(request: HttpRequest) -> HttpResponse:
    """Return 404 for any other address."""
    return errors.error_response(404)


urlpatterns = [*api.urls[0], re_path("", unknown, name="unknown")]
app_name = "api"
