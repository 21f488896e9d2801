from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TRACE_LENGTH = 200


def find_best(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Best and trace of the experiments in which early-stopped trials counted: of succeeded trials only."""
    experiments = apps.get_model("experiments", "Experiment")._base_manager
    trials = apps.get_model("experiments", "Trial")._base_manager.filter(trashed_at=None, state="succeeded")
    for experiment in experiments.filter(early_stopped_count__gt=0, best_number__isnull=False).only("direction"):
        sign = 1 if experiment.direction == "minimize" else -1
        trace: list[list[float]] = []
        ended = trials.filter(experiment=experiment).exclude(value=None).order_by("settled_rank")
        for number, value in ended.values_list("number", "value").iterator(chunk_size=5000):
            if not trace or sign * value < sign * trace[-1][1]:
                trace.append([number, value])
                if len(trace) > TRACE_LENGTH:
                    trace = [*trace[:-1:2], trace[-1]]
        number, value = trace[-1] if trace else (None, None)
        experiments.filter(pk=experiment.pk).update(best_number=number, best_value=value, trace=trace)


class Migration(migrations.Migration):
    dependencies = [("experiments", "0017_answer_checks")]

    operations = [
        migrations.RemoveIndex("trial", "trial_by_value"),
        migrations.AddField(
            "trial",
            "result",
            models.GeneratedField(
                expression=models.Case(models.When(state="succeeded", then=models.F("value"))),
                output_field=models.FloatField(null=True),
                db_persist=True,
            ),
        ),
        migrations.AddIndex("trial", models.Index(fields=["experiment", "result"], name="trial_by_result")),
        migrations.RunPython(find_best, migrations.RunPython.noop),
    ]
