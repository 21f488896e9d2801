"""URLs of the viewer of output files."""

from django.urls import path

from . import viewer

urlpatterns = [
    path(
        "w/<slug:workspace_slug>/experiments/<slug:public_id>/artifacts/view/",
        viewer.show,
        name="artifact-viewer",
    ),
]
