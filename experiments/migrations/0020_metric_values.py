import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0019_interrupted")]

    operations = [
        migrations.CreateModel(
            name="MetricValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("number", models.FloatField(null=True)),
                ("is_final", models.BooleanField(default=False)),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="experiments.experiment"
                    ),
                ),
                (
                    "trial",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="metric_values",
                        to="experiments.trial",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["experiment", "name", "number", "trial"], name="metric_by_value")
                ],
                "constraints": [models.UniqueConstraint(fields=["trial", "name"], name="metric_value_once")],
            },
        ),
        migrations.RemoveIndex("trialparameter", "parameter_by_value"),
        migrations.AddIndex(
            "trialparameter",
            models.Index(fields=["experiment", "name", "number", "text", "trial"], name="parameter_by_value"),
        ),
        migrations.RemoveIndex("trial", "trial_by_result"),
        migrations.AddIndex(
            "trial",
            models.Index(fields=["experiment", "result", "value", "number"], name="trial_by_result"),
        ),
    ]
