"""URLs of the audit log."""

from django.urls import path

from . import page

W = "w/<slug:workspace_slug>/settings/"

urlpatterns = [
    path(W + "audit/", page.of_workspace, name="audit"),
    path(W + "audit.csv", page.file_of_workspace, {"kind": "csv"}, name="audit-csv"),
    path(W + "audit.json", page.file_of_workspace, {"kind": "json"}, name="audit-json"),
    path("audit/", page.of_installation, name="installation-audit"),
    path("audit.csv", page.file_of_installation, {"kind": "csv"}, name="installation-audit-csv"),
    path("audit.json", page.file_of_installation, {"kind": "json"}, name="installation-audit-json"),
]
