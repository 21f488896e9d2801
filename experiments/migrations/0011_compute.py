from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce


def add_up(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What its trials took so far, those in the trash included."""
    trials = apps.get_model("experiments", "Trial")._base_manager.filter(experiment=OuterRef("pk"))
    took = trials.order_by().values("experiment").annotate(took=Sum("duration_s")).values("took")
    apps.get_model("experiments", "Experiment")._base_manager.update(compute_s=Coalesce(Subquery(took), 0.0))


class Migration(migrations.Migration):
    dependencies = [("experiments", "0010_gpus")]

    operations = [
        migrations.AddField("experiment", "compute_s", models.FloatField(default=0)),
        migrations.RunPython(add_up, migrations.RunPython.noop),
    ]
