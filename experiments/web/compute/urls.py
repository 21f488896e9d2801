"""URLs of queues and workers."""

from django.urls import path

from experiments.web.table_files import file_paths

from . import files, queue_edit, queues, worker, workers

urlpatterns = [
    path("queues/", queues.index, name="queues"),
    *file_paths("queues", files.queues, name="queues"),
    path("queues/new/", queue_edit.new, name="queue-new"),
    path("queues/<slug:queue_name>/", queues.show, name="queue"),
    path("queues/<slug:queue_name>/edit/", queue_edit.edit, name="queue-edit"),
    path("queues/<slug:queue_name>/<slug:action>/", queues.action, name="queue-action"),
    path("workers/", workers.index, name="workers"),
    *file_paths("workers", files.workers, name="workers"),
    path("workers/<str:worker_name>/", worker.show, name="worker"),
    path("workers/<str:worker_name>/<slug:action>/", workers.action, name="worker-action"),
]
