from django.db import migrations, models


def note_exhausted(apps, schema_editor):
    """Those that completed for this reason have tried every value of their search space."""
    rows = apps.get_model("experiments", "Experiment").objects.using(schema_editor.connection.alias)
    rows.filter(state="completed", reason="search space exhausted").update(is_exhausted=True)


class Migration(migrations.Migration):
    dependencies = [("experiments", "0072_pin")]

    operations = [
        migrations.AddField(
            model_name="experiment",
            name="is_exhausted",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(note_exhausted, migrations.RunPython.noop, elidable=True),
    ]
