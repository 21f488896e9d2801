"""URLs of comparisons."""

from django.urls import path

from . import experiments, trials

EXPERIMENTS = "w/<slug:workspace_slug>/experiments/"
EXPERIMENT = EXPERIMENTS + "<slug:public_id>/"
CSV, JSON, SVG = {"kind": "csv"}, {"kind": "json"}, {"kind": "svg"}

urlpatterns = [
    path(EXPERIMENTS + "compare/", experiments.show, name="experiments-compare"),
    path(EXPERIMENTS + "compare.csv", experiments.file, CSV, name="experiments-compare-csv"),
    path(EXPERIMENTS + "compare.json", experiments.file, JSON, name="experiments-compare-json"),
    path(
        EXPERIMENTS + "compare/<slug:chart>.svg",
        experiments.chart_file,
        SVG,
        name="experiments-compare-chart-svg",
    ),
    path(
        EXPERIMENTS + "compare/<slug:chart>.csv",
        experiments.chart_file,
        CSV,
        name="experiments-compare-chart-csv",
    ),
    path(EXPERIMENT + "compare/", trials.show, name="trials-compare"),
    path(EXPERIMENT + "compare.csv", trials.file, CSV, name="trials-compare-csv"),
    path(EXPERIMENT + "compare.json", trials.file, JSON, name="trials-compare-json"),
    path(EXPERIMENT + "compare/<slug:chart>.svg", trials.chart_file, SVG, name="trials-compare-chart-svg"),
    path(EXPERIMENT + "compare/<slug:chart>.csv", trials.chart_file, CSV, name="trials-compare-chart-csv"),
]
