"""URLs of an experiment's activity."""

from django.urls import path

from . import page

EXPERIMENT = "w/<slug:workspace_slug>/experiments/<slug:public_id>/"

urlpatterns = [
    path(EXPERIMENT + "activity/", page.show, name="experiment-activity"),
    path(EXPERIMENT + "activity.csv", page.file, {"kind": "csv"}, name="activity-csv"),
    path(EXPERIMENT + "activity.json", page.file, {"kind": "json"}, name="activity-json"),
]
