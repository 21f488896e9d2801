"""URLs of imports and of the export."""

from django.urls import path

from . import export, pages

IMPORTS = "w/<slug:workspace_slug>/imports/"
EXPERIMENT = "w/<slug:workspace_slug>/experiments/<slug:public_id>/"

urlpatterns = [
    path(IMPORTS, pages.new, name="imports"),
    path(IMPORTS + "<slug:import_id>/", pages.show, name="import"),
    path(IMPORTS + "<slug:import_id>/cancel/", pages.cancel, name="import-cancel"),
    path(EXPERIMENT + "export/", export.ask, name="experiment-export"),
    path(EXPERIMENT + "export.zip", export.file, name="experiment-export-file"),
]
