import json

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

AT_ONCE = 1000


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The last points of settled trials, and their final metrics."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("""
            INSERT INTO experiments_metricvalue (trial_id, experiment_id, name, number, is_final)
            SELECT point.trial_id, trial.experiment_id, point.name, point.value, %s
            FROM experiments_point point
            JOIN experiments_trial trial ON trial.id = point.trial_id
            JOIN experiments_experiment experiment ON experiment.id = trial.experiment_id
            WHERE trial.settled_rank IS NOT NULL AND point.name <> experiment.metric AND point.step = (
                SELECT MAX(step) FROM experiments_point later
                WHERE later.trial_id = point.trial_id AND later.name = point.name
            )
        """, [False])
    values = apps.get_model("experiments", "MetricValue")._base_manager
    trials = apps.get_model("experiments", "Trial")._base_manager.exclude(final_metrics={})
    columns = ("pk", "experiment", "experiment__metric", "final_metrics")
    rows = []

    def keep() -> None:
        values.bulk_create(
            rows,
            batch_size=AT_ONCE,
            update_conflicts=True,
            unique_fields=["trial", "name"],
            update_fields=["number", "is_final"],
        )
        rows.clear()

    for pk, experiment, objective, metrics in trials.values_list(*columns).iterator(chunk_size=AT_ONCE):
        metrics = json.loads(metrics) if isinstance(metrics, str) else metrics
        for name, value in metrics.items():
            if name != objective:
                number = float(value) if isinstance(value, int | float) else None
                rows.append(
                    values.model(
                        trial_id=pk, experiment_id=experiment, name=name[:200], number=number, is_final=True
                    )
                )
        if len(rows) >= AT_ONCE:
            keep()
    keep()


class Migration(migrations.Migration):
    """Apart from the table: PostgreSQL makes no index of a table with rows of the same transaction."""

    dependencies = [("experiments", "0020_metric_values")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
