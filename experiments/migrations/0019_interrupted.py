from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SOURCES = [
    ("proposal", "Proposed by the algorithm"),
    ("rerun", "Rerun"),
    ("retry", "Retried after its worker was lost"),
    ("added", "Added by hand"),
    ("resumed", "Retried after its experiment was stopped"),
    ("replica", "Replica of a good one"),
]


def mark(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What was stopped with its experiment so far is retried when that is resumed."""
    trials = apps.get_model("experiments", "Trial")._base_manager
    stopped = trials.filter(state="stopped", detail__startswith="stopped with its experiment")
    stopped.update(was_interrupted=True)


class Migration(migrations.Migration):
    dependencies = [("experiments", "0018_results")]

    operations = [
        migrations.AddField("trial", "was_interrupted", models.BooleanField(default=False)),
        migrations.AlterField(
            "trial", "source", models.CharField(choices=SOURCES, default="proposal", max_length=8)
        ),
        migrations.RunPython(mark, migrations.RunPython.noop),
    ]
