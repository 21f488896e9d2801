"""URLs of a workspace's experiments. The last part of a URL is the view, the model's verb and the event."""

from django.urls import path

from experiments.web import bulk, exports

from . import (
    artifacts,
    configuration,
    description,
    execution,
    hyperparameters,
    index,
    overview,
    pins,
    schedule,
    store_artifacts,
    trash,
)
from .create import input_model, warm_start_uploads
from .create import views as create
from .edit import views as edit

WORKSPACE = "w/<slug:workspace_slug>/"
EXPERIMENTS = WORKSPACE + "experiments/"
EXPERIMENT = EXPERIMENTS + "<slug:public_id>/"
CONFIGURATION = EXPERIMENT + "configuration/"

urlpatterns = [
    path(EXPERIMENTS, index.index, name="experiments"),
    path(WORKSPACE + "experiments.csv", exports.experiments, {"kind": "csv"}, name="experiments-csv"),
    path(WORKSPACE + "experiments.json", exports.experiments, {"kind": "json"}, name="experiments-json"),
    path(WORKSPACE + "trash/", trash.index, name="trash"),
    path(WORKSPACE + "trash/<slug:public_id>/restore/", trash.restore, name="trash-restore"),
    path(EXPERIMENTS + "complete/", index.complete, name="experiments-complete"),
    path(EXPERIMENTS + "new/", create.new, name="experiment-new"),
    path(EXPERIMENTS + "bulk/<slug:verb>/", bulk.experiments, name="experiments-bulk"),
    path(EXPERIMENTS + "results/new/", warm_start_uploads.new, name="results-new"),
    path(EXPERIMENTS + "results/<slug:results_id>/", warm_start_uploads.show, name="results"),
    path(EXPERIMENTS + "results/<slug:results_id>/delete/", warm_start_uploads.delete, name="results-delete"),
    path(EXPERIMENT, overview.show, name="experiment"),
    path(EXPERIMENT + "edit/", edit.edit, name="experiment-edit"),
    path(EXPERIMENT + "pin/", pins.pin, name="experiment-pin"),
    path(EXPERIMENT + "unpin/", pins.unpin, name="experiment-unpin"),
    path(EXPERIMENT + "schedule/", schedule.edit, name="experiment-schedule"),
    path(EXPERIMENT + "description/", description.edit, name="experiment-description"),
    path(CONFIGURATION, configuration.show, name="experiment-configuration"),
    path(CONFIGURATION + "group/", hyperparameters.group, name="configuration-group"),
    path(CONFIGURATION + "group/<slug:action>/", hyperparameters.group, name="configuration-group-action"),
    path(CONFIGURATION + "object/", hyperparameters.configuration_object, name="configuration-object"),
    path(
        CONFIGURATION + "object/<slug:action>/",
        hyperparameters.configuration_object,
        name="configuration-object-action",
    ),
    path(CONFIGURATION + "properties/", hyperparameters.properties, name="configuration-properties"),
    path(EXPERIMENT + "execution/", execution.show, name="experiment-execution"),
    path(EXPERIMENT + "execution/<slug:block>/", execution.edit, name="execution-edit"),
    path(EXPERIMENT + "execution/<slug:block>/<slug:action>/", execution.edit, name="execution-action"),
    path(EXPERIMENT + "artifacts/", artifacts.index, name="experiment-artifacts"),
    path(EXPERIMENT + "artifacts/store/", store_artifacts.store, name="experiment-artifacts-store"),
    path(EXPERIMENT + "artifacts/input/", input_model.choose, name="experiment-input"),
    path(EXPERIMENT + "artifacts/input/remove/", input_model.remove, name="experiment-input-remove"),
    path(EXPERIMENT + "artifacts/<int:artifact_pk>/download/", artifacts.fetch, name="artifact-download"),
    path(EXPERIMENT + "artifacts/<int:artifact_pk>/register/", artifacts.register, name="artifact-register"),
    path(EXPERIMENT + "<slug:verb>/", overview.action, name="experiment-action"),  # last: it matches any word
]
