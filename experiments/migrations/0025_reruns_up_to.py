from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0024_wording")]

    operations = [migrations.AddField("experiment", "reruns_up_to", models.IntegerField(null=True))]
