from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0016_final_metrics")]

    operations = [migrations.AddField("answer", "checks", models.JSONField(null=True))]
