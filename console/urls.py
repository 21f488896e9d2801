"""The root URL configuration."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.cache import never_cache

from console import health
from experiments.api.protocol import openapi
from experiments.web.metrics import metrics


@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200 "ok" when the console and its database respond and the disk has space; else 503 with the problems, one
    per line. Requires no session or permission."""
    return _answer(health.problems())


@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 "ok" when this process can serve requests: as `healthz`, and the schema is that of this version."""
    return _answer(health.problems() or health.schema_problems())


def _answer(problems: list[str]) -> HttpResponse:
    text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
    return HttpResponse(text, status=503 if problems else 200, content_type="text/plain")


handler500 = "experiments.web.ui.error_pages.broken"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("api/v1/openapi.json", openapi.openapi, name="api-schema"),
    path("api/v1/docs/", openapi.show, name="api-docs"),
    path("api/v1/", include("experiments.api.api")),
    path("", include("experiments.web.urls")),
]

if settings.OPENID:
    from console.auth import openid  # imported only if configured, because it imports a large library

    urlpatterns += openid.urlpatterns
