"""People's addresses. One word: the last part of an address is the view, the verb and the event."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from . import (
    account,
    add,
    bulk,
    configuration,
    edit,
    experiment,
    experiments,
    exports,
    members,
    passwords,
    patterns,
    queues,
    reproduce,
    session,
    settings_pages,
    tokens,
    trash,
    trial,
    trials,
    workers,
    workspaces,
)

W = "w/<slug:workspace>/"
E = W + "experiments/"
ONE = E + "<slug:public_id>/"
TRIAL = ONE + "trials/<int:number>/"

urlpatterns = [
    path("", workspaces.home, name="home"),
    path("sign-in/", passwords.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("enter/<str:token>/", session.enter, name="enter"),
    path("workspaces/", workspaces.index, name="workspaces"),
    path("patterns/", patterns.show, name="patterns"),
    path("w/<slug:workspace>/", workspaces.show, name="workspace"),
    path(W + "trash/", trash.index, name="trash"),
    path(W + "trash/<slug:public_id>/restore/", trash.restore, name="trash-restore"),
    path(E, experiments.index, name="experiments"),
    path("w/<slug:workspace>/experiments.csv", exports.experiments, {"kind": "csv"}, name="experiments-csv"),
    path(
        "w/<slug:workspace>/experiments.json", exports.experiments, {"kind": "json"}, name="experiments-json"
    ),
    path(E + "new/", experiments.new, name="experiment-new"),
    path(E + "bulk/<slug:verb>/", bulk.experiments, name="experiments-bulk"),
    path(ONE, experiment.show, name="experiment"),
    path(ONE + "trials/", trials.index, name="experiment-trials"),
    path(ONE + "trials/bulk/<slug:verb>/", bulk.trials, name="trials-bulk"),
    path(ONE + "trials.csv", exports.of_trials, {"kind": "csv"}, name="trials-csv"),
    path(ONE + "trials.json", exports.of_trials, {"kind": "json"}, name="trials-json"),
    path(ONE + "configuration/", configuration.show, name="experiment-configuration"),
    path(ONE + "edit/", edit.edit, name="experiment-edit"),
    path(ONE + "add/", add.add, name="experiment-add"),
    path(ONE + "<slug:verb>/", experiment.act, name="experiment-act"),
    path(TRIAL, trial.show, name="trial"),
    path(TRIAL + "log/", trial.log, name="trial-log"),
    path(TRIAL + "stop/", trial.stop, name="trial-stop"),
    path(TRIAL + "rerun/", trial.rerun, name="trial-rerun"),
    path(TRIAL + "reproduce.sh", reproduce.script, name="trial-script"),
    path(TRIAL + "parameters.json", reproduce.parameters, name="trial-parameters"),
    path(TRIAL + "replicate/", add.replicate, name="trial-replicate"),
    path(W + "settings/", settings_pages.show, name="workspace-settings"),
    path(W + "settings/automl/", settings_pages.automl, name="workspace-automl"),
    path(W + "members/", members.index, name="members"),
    path(W + "members/<str:username>/role/", members.role, name="member-role"),
    path(W + "members/<str:username>/remove/", members.remove, name="member-remove"),
    path("queues/", queues.index, name="queues"),
    path("queues/new/", queues.new, name="queue-new"),
    path("queues/<slug:queue>/", queues.show, name="queue"),
    path("queues/<slug:queue>/edit/", queues.edit, name="queue-edit"),
    path("queues/<slug:queue>/<slug:act>/", queues.act, name="queue-act"),
    path("workers/", workers.index, name="workers"),
    path("workers/<str:worker>/<slug:act>/", workers.act, name="worker-act"),
    path("account/", account.show, name="account"),
    path("account/password/", account.ChangePassword.as_view(), name="account-password"),
    path("account/tokens/", tokens.index, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", tokens.revoke, name="token-revoke"),
    path(W + "settings/tokens/<int:pk>/revoke/", tokens.revoke_in, name="workspace-token-revoke"),
    path("account/sign-out-elsewhere/", account.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("password-reset/", passwords.Reset.as_view(), name="password-reset"),
    path("password-reset/sent/", passwords.ResetSent.as_view(), name="password-reset-sent"),
    path(
        "password-reset/<str:uidb64>/<str:token>/",
        passwords.ResetConfirm.as_view(),
        name="password-reset-confirm",
    ),
]
