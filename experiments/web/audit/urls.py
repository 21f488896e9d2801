"""Addresses of the audit log."""

from django.urls import path

from . import page

W = "w/<slug:workspace_slug>/settings/"

urlpatterns = [
    path(W + "audit/", page.of_workspace, name="audit"),
    path(W + "audit.csv", page.file_of_workspace, name="audit-csv"),
    path("audit/", page.of_installation, name="installation-audit"),
    path("audit.csv", page.file_of_installation, name="installation-audit-csv"),
]
