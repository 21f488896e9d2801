"""URLs of dashboards and of share links."""

from django.urls import path

from experiments.web.table_files import file_paths

from . import edit, links, page, shared

W = "w/<slug:workspace_slug>/"
D = W + "dashboards/<int:dashboard_pk>/"

urlpatterns = [
    path(W + "dashboards/", page.index, name="dashboards"),
    *file_paths(W + "dashboards", page.file, name="dashboards"),
    path(W + "dashboards/new/", page.new, name="dashboard-new"),
    path(D, page.show, name="dashboard"),
    path(D + "tiles/<int:tile_pk>/", page.tile, name="dashboard-tile"),
    path(D + "edit/", edit.edit, name="dashboard-edit"),
    path(D + "arrange/", edit.arrange, name="dashboard-arrange"),
    path(D + "add/<slug:kind>/", edit.add, name="tile-add"),
    path(D + "tiles/<int:tile_pk>/edit/", edit.change_tile, name="tile-edit"),
    path(D + "settings/", edit.settings, name="dashboard-settings"),
    path(D + "duplicate/", page.duplicate, name="dashboard-duplicate"),
    path(D + "links/", links.new_for_dashboard, name="dashboard-link"),
    path(D + "delete/", page.delete, name="dashboard-delete"),
    path(W + "experiments/<slug:public_id>/share/", links.new_for_experiment, name="experiment-share"),
    path(W + "links/", links.index, name="links"),
    path(W + "links/<int:link_pk>/revoke/", links.revoke, name="link-revoke"),
    path("s/<str:secret>/", shared.show, name="shared"),
    path("s/<str:secret>/tiles/<int:tile_pk>/", shared.tile, name="shared-tile"),
]
