from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0025_progress")]

    operations = [migrations.AddField("experiment", "reruns_up_to", models.IntegerField(null=True))]
