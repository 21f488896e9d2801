"""Drop the indexes of foreign keys with which another index begins: each row of a trial's path was written into both.

Django would copy the whole table on SQLite to change `db_index`.
"""

from collections.abc import Iterator

import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

COVERED = {
    "artifact": ("experiment", "trial"),
    "event": ("by", "experiment"),
    "logpiece": ("trial",),
    "metricvalue": ("experiment", "trial"),
    "point": ("trial",),
    "suggestion": ("experiment", "revision"),
    "trial": ("experiment", "worker"),
    "trialparameter": ("experiment", "trial"),
}
CASCADE = django.db.models.deletion.CASCADE


def drop(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for model, field in _fields(apps):
        kept = {index.name for index in model._meta.indexes}
        for name in schema_editor._constraint_names(model, [field.column], index=True, exclude=kept):
            schema_editor.execute(schema_editor._delete_index_sql(model, name))


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for model, field in _fields(apps):
        schema_editor.execute(schema_editor._create_index_sql(model, fields=[field]))


def _fields(apps: Apps) -> Iterator[tuple[type[models.Model], models.Field]]:
    for name, fields in COVERED.items():
        model = apps.get_model("experiments", name)
        for field in fields:
            yield model, model._meta.get_field(field)


def key(to: str, related_name: str, on_delete: object = CASCADE, **options: object) -> models.ForeignKey:
    return models.ForeignKey(to, on_delete, related_name=related_name, db_index=False, **options)


class Migration(migrations.Migration):
    dependencies = [("experiments", "0079_fill_seen_causes")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(drop, create)],
            [
                migrations.AlterField(model, field, foreign_key)
                for model, field, foreign_key in (
                    ("artifact", "experiment", key("experiments.experiment", "artifacts")),
                    ("artifact", "trial", key("experiments.trial", "artifacts")),
                    (
                        "event",
                        "by",
                        key(
                            settings.AUTH_USER_MODEL,
                            "events",
                            django.db.models.deletion.SET_NULL,
                            null=True,
                        ),
                    ),
                    ("event", "experiment", key("experiments.experiment", "events")),
                    ("logpiece", "trial", key("experiments.trial", "log_pieces")),
                    ("metricvalue", "experiment", key("experiments.experiment", "+")),
                    ("metricvalue", "trial", key("experiments.trial", "metric_values")),
                    ("point", "trial", key("experiments.trial", "points")),
                    ("suggestion", "experiment", key("experiments.experiment", "suggestions")),
                    (
                        "suggestion",
                        "revision",
                        key("experiments.revision", "+", django.db.models.deletion.PROTECT),
                    ),
                    ("trial", "experiment", key("experiments.experiment", "trials")),
                    (
                        "trial",
                        "worker",
                        key("experiments.worker", "trials", django.db.models.deletion.SET_NULL, null=True),
                    ),
                    ("trialparameter", "experiment", key("experiments.experiment", "+")),
                    ("trialparameter", "trial", key("experiments.trial", "parameters")),
                )
            ],
        ),
        migrations.AddIndex(
            "event",
            models.Index(condition=models.Q(by__isnull=False), fields=["by"], name="event_by_person"),
        ),
    ]
