import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import experiments.models.fields


class Migration(migrations.Migration):
    dependencies = [("experiments", "0026_reruns_up_to")]

    operations = [
        migrations.CreateModel(
            name="Importance",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("epoch", models.IntegerField()),
                ("computed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("succeeded_count", models.IntegerField()),
                ("trial_count", models.IntegerField()),
                ("shares", experiments.models.fields.ExactJSONField(default=dict)),
                ("problem", models.CharField(blank=True, max_length=200)),
                (
                    "experiment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="importance",
                        to="experiments.experiment",
                    ),
                ),
            ],
        ),
    ]
