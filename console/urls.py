"""The root URL configuration."""

from django.conf import settings
from django.contrib import admin
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.cache import never_cache

from experiments.api.protocol import openapi


@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200 "ok" when the console and its database respond. Needs no session or permission."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse("the database does not respond\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


handler500 = "experiments.web.ui.error_pages.broken"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("api/v1/openapi.json", openapi.openapi, name="api-schema"),
    path("api/v1/docs/", openapi.show, name="api-docs"),
    path("api/v1/", include("experiments.api.api")),
    path("", include("experiments.web.urls")),
]

if settings.OPENID:
    from console.auth import openid  # imported only when it is used, because it imports a large library

    urlpatterns += openid.urlpatterns
