"""URLs of queues and workers."""

from django.urls import path

from . import queue_edit, queues, worker, workers

urlpatterns = [
    path("queues/", queues.index, name="queues"),
    path("queues/new/", queue_edit.new, name="queue-new"),
    path("queues/<slug:queue_name>/", queues.show, name="queue"),
    path("queues/<slug:queue_name>/edit/", queue_edit.edit, name="queue-edit"),
    path("queues/<slug:queue_name>/<slug:action>/", queues.action, name="queue-action"),
    path("workers/", workers.index, name="workers"),
    path("workers/<str:worker_name>/", worker.show, name="worker"),
    path("workers/<str:worker_name>/<slug:action>/", workers.action, name="worker-action"),
]
