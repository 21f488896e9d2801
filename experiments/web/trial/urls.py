"""URLs of an experiment's trials."""

from django.urls import path

from experiments.web import bulk, exports

from . import add, comments, filter_autocomplete, page, reports, reproduce, table

EXPERIMENT = "w/<slug:workspace_slug>/experiments/<slug:public_id>/"
TRIAL = EXPERIMENT + "trials/<int:number>/"

urlpatterns = [
    path(EXPERIMENT + "trials/", table.index, name="experiment-trials"),
    path(EXPERIMENT + "trials/columns/", table.choose_columns, name="trials-columns"),
    path(EXPERIMENT + "trials/complete/", filter_autocomplete.complete, name="trials-complete"),
    path(EXPERIMENT + "trials/bulk/<slug:verb>/", bulk.trials, name="trials-bulk"),
    path(EXPERIMENT + "trials.csv", exports.of_trials, {"kind": "csv"}, name="trials-csv"),
    path(EXPERIMENT + "trials.json", exports.of_trials, {"kind": "json"}, name="trials-json"),
    path(EXPERIMENT + "add/", add.add, name="experiment-add"),
    path(TRIAL, page.show, name="trial"),
    path(TRIAL + "log/", page.log, name="trial-log"),
    path(TRIAL + "stop/", page.stop, name="trial-stop"),
    path(TRIAL + "mark-lost/", page.mark_lost, name="trial-mark-lost"),
    path(TRIAL + "star/", comments.star, name="trial-star"),
    path(TRIAL + "unstar/", comments.unstar, name="trial-unstar"),
    path(TRIAL + "comment/", comments.comment, name="trial-comment"),
    path(TRIAL + "comment/<int:comment_pk>/edit/", comments.edit_comment, name="trial-comment-edit"),
    path(TRIAL + "comment/<int:comment_pk>/delete/", comments.delete_comment, name="trial-comment-delete"),
    path(TRIAL + "rerun/", page.rerun, name="trial-rerun"),
    path(TRIAL + "reproduce.sh", reproduce.script, name="trial-script"),
    path(TRIAL + "parameters.json", reproduce.parameters, name="trial-parameters"),
    path(EXPERIMENT + "artifacts/<int:artifact_pk>/image/", reports.image, name="artifact-image"),
    path(TRIAL + "replicate/", add.replicate, name="trial-replicate"),
]
