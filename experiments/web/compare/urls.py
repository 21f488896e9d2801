"""Addresses of comparisons."""

from django.urls import path

from . import experiments, trials

EXPERIMENTS = "w/<slug:workspace_slug>/experiments/"
EXPERIMENT = EXPERIMENTS + "<slug:public_id>/"

urlpatterns = [
    path(EXPERIMENTS + "compare/", experiments.show, name="experiments-compare"),
    path(EXPERIMENTS + "compare.csv", experiments.csv, name="experiments-compare-csv"),
    path(EXPERIMENT + "compare/", trials.show, name="trials-compare"),
    path(EXPERIMENT + "compare.csv", trials.csv, name="trials-compare-csv"),
]
