"""URLs of workspaces, their projects, models and members."""

from django.urls import path

from experiments.web.table_files import file_paths

from . import (
    getting_started,
    home,
    index,
    leaderboard,
    members,
    model_add,
    model_list,
    needs_attention,
    projects,
    registered_models,
    retention,
    saved_views,
    settings,
    wall,
)

W = "w/<slug:workspace_slug>/"
MODEL = W + "models/<slug:model_id>/"

urlpatterns = [
    path("", home.everywhere, name="home"),
    path("needs/dismiss/", needs_attention.dismiss, name="needs-dismiss"),
    path("workspaces/", index.index, name="workspaces"),
    path("workspaces/new/", index.new, name="workspace-new"),
    path("w/<slug:workspace_slug>/", home.show, name="workspace"),
    path(W + "sample/", getting_started.sample, name="sample"),
    path(W + "python/", getting_started.python, name="python"),
    path("projects/", projects.everywhere, name="projects-everywhere"),
    path(W + "projects/", projects.index, name="projects"),
    path(W + "projects/name-check/", projects.name_check, name="project-name-check"),
    path(W + "projects/new/", projects.new, name="project-new"),
    path(W + "projects/<int:project_pk>/edit/", projects.edit, name="project-edit"),
    path(W + "projects/<int:project_pk>/delete/", projects.delete, name="project-delete"),
    path(W + "views/new/", saved_views.new, name="view-new"),
    path(W + "views/<int:view_pk>/edit/", saved_views.edit, name="view-edit"),
    path(W + "views/<int:view_pk>/update/", saved_views.update, name="view-update"),
    path(W + "views/<int:view_pk>/delete/", saved_views.delete, name="view-delete"),
    path(W + "leaderboard/", leaderboard.show, name="leaderboard"),
    *file_paths(W + "leaderboard", leaderboard.file, name="leaderboard"),
    path(W + "leaderboard/<slug:public_id>/pin/", leaderboard.pin, name="baseline-pin"),
    path(W + "leaderboard/<slug:public_id>/unpin/", leaderboard.unpin, name="baseline-unpin"),
    path(W + "wall/", wall.show, name="wall"),
    path(W + "models/", model_list.index, name="models"),
    *file_paths(W + "models", model_list.file, name="models"),
    path(W + "models/add/", model_add.add, name="model-add"),
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
    path(W + "settings/retention/", retention.show, name="workspace-retention"),
    path(
        W + "settings/retention/<slug:part>/<slug:action>/",
        retention.change,
        name="workspace-retention-change",
    ),
    path("retention/", retention.show_installation, name="retention"),
    path("retention/<slug:part>/<slug:action>/", retention.change_installation, name="retention-change"),
    path(W + "members/", members.index, name="members"),
    *file_paths(W + "members", members.file, name="members"),
    path(W + "members/<str:username>/role/", members.role, name="member-role"),
    path(W + "members/<str:username>/remove/", members.remove, name="member-remove"),
]
