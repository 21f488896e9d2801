from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0022_early_stopping_names")]

    operations = [
        migrations.CreateModel(
            name="FormerExperiment",
            fields=[("public_id", models.CharField(max_length=8, primary_key=True, serialize=False))],
        ),
    ]
