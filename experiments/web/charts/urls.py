"""URLs of an experiment's charts."""

from django.urls import path

from . import pages

EXPERIMENT = "w/<slug:workspace_slug>/experiments/<slug:public_id>/"

urlpatterns = [
    path(EXPERIMENT + "charts/", pages.index, name="experiment-charts"),
    path(EXPERIMENT + "charts/<slug:chart>/", pages.show, name="experiment-chart"),
    path(EXPERIMENT + "charts/<slug:chart>.svg", pages.file, {"kind": "svg"}, name="experiment-chart-svg"),
    path(EXPERIMENT + "charts/<slug:chart>.csv", pages.file, {"kind": "csv"}, name="experiment-chart-csv"),
]
