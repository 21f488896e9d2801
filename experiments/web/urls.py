"""Addresses of all pages. The last part of an address names the view, the verb and the event."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from . import search
from .account import passwords, profile, sign_in, tokens
from .compute import queue_edit, queues, worker, workers
from .ui import component_gallery

W = "w/<slug:workspace>/"
MODEL = W + "models/<slug:model>/"

urlpatterns = [
    path("", include("experiments.web.account.urls")),
    path("", include("experiments.web.workspace.urls")),
    path("", include("experiments.web.compute.urls")),
    path("patterns/", component_gallery.show, name="patterns"),
    path("search/", search.show, name="search"),
    path("projects/", projects.everywhere, name="projects-everywhere"),
    path(W + "projects/", projects.index, name="projects"),
    path(W + "projects/new/", projects.new, name="project-new"),
    path(W + "projects/<int:project>/edit/", projects.edit, name="project-edit"),
    path(W + "projects/<int:project>/delete/", projects.delete, name="project-delete"),
    path("", include("experiments.web.trial.urls")),
    path("", include("experiments.web.experiment.urls")),
    path(W + "wall/", wall.show, name="wall"),
    path(W + "models/", registered_models.index, name="models"),
    path(MODEL, registered_models.show, name="model"),
    path(MODEL + "network/", registered_models.network, name="model-network"),
    path(MODEL + "network/clear/", registered_models.clear, name="model-clear"),
    path(MODEL + "labels/", registered_models.labels, name="model-labels"),
    path(MODEL + "publish/", registered_models.publish, name="model-publish"),
    path(MODEL + "download/", registered_models.fetch, name="model-download"),
    path(MODEL + "delete/", registered_models.delete, name="model-delete"),
    path(W + "settings/", settings.show, name="workspace-settings"),
    path(W + "settings/destination/", settings.destination, name="workspace-destination"),
    path(W + "settings/automl/", settings.automl, name="workspace-automl"),
    path(W + "members/", members.index, name="members"),
    path(W + "members/<str:username>/role/", members.role, name="member-role"),
    path(W + "members/<str:username>/remove/", members.remove, name="member-remove"),
    path("queues/", queues.index, name="queues"),
    path("queues/new/", queue_edit.new, name="queue-new"),
    path("queues/<slug:queue>/", queues.show, name="queue"),
    path("queues/<slug:queue>/edit/", queue_edit.edit, name="queue-edit"),
    path("queues/<slug:queue>/<slug:action>/", queues.action, name="queue-action"),
    path("workers/", workers.index, name="workers"),
    path("workers/<str:worker>/", worker.show, name="worker"),
    path("workers/<str:worker>/<slug:action>/", workers.action, name="worker-action"),
    path("account/", profile.show, name="account"),
    path("account/password/", profile.ChangePassword.as_view(), name="account-password"),
    path("account/tokens/", tokens.index, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", tokens.revoke, name="token-revoke"),
    path(W + "settings/tokens/<int:pk>/revoke/", tokens.revoke_in, name="workspace-token-revoke"),
    path("account/sign-out-elsewhere/", profile.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("password-reset/", passwords.Reset.as_view(), name="password-reset"),
    path("password-reset/sent/", passwords.ResetSent.as_view(), name="password-reset-sent"),
    path(
        "password-reset/<str:uidb64>/<str:token>/",
        passwords.ResetConfirm.as_view(),
        name="password-reset-confirm",
    ),
]
