from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0021_fill_metric_values")]

    operations = [
        migrations.CreateModel(
            name="FormerExperiment",
            fields=[("public_id", models.CharField(max_length=8, primary_key=True, serialize=False))],
        ),
    ]
