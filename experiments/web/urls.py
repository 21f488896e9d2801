"""URLs of all pages. The last part of a URL names the view, the verb and the event."""

from django.urls import include, path

from . import search
from .ui import component_gallery, preferences

urlpatterns = [
    path("", include("experiments.web.account.urls")),
    path("", include("experiments.web.workspace.urls")),
    path("", include("experiments.web.activity.urls")),
    path("", include("experiments.web.artifact.urls")),
    path("", include("experiments.web.audit.urls")),
    path("", include("experiments.web.compare.urls")),
    path("", include("experiments.web.imports.urls")),
    path("", include("experiments.web.dashboards.urls")),
    path("", include("experiments.web.notifications.urls")),
    path("", include("experiments.web.usage.urls")),
    path("", include("experiments.web.trial.urls")),
    path("", include("experiments.web.charts.urls")),
    path("", include("experiments.web.experiment.urls")),
    path("", include("experiments.web.compute.urls")),
    path("patterns/", component_gallery.show, name="patterns"),
    path("search/", search.show, name="search"),
    path("preferences/<slug:preference>/", preferences.prefer, name="prefer"),
]
