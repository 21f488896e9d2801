"""URLs of usage."""

from django.urls import path

from . import limits, page

W = "w/<slug:workspace_slug>/usage"

urlpatterns = [
    path(W + "/", page.show, name="usage"),
    path(W + ".csv", page.file, {"kind": "csv"}, name="usage-csv"),
    path(W + ".json", page.file, {"kind": "json"}, name="usage-json"),
    path(W + "/limits/", limits.edit, name="usage-limits"),
]
