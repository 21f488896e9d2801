from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0067_start_window")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="time_zone",
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
