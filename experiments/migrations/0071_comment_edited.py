from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0070_dismissal")]

    operations = [
        migrations.AddField(
            model_name="comment",
            name="edited_at",
            field=models.DateTimeField(null=True),
        ),
    ]
