from django.db import migrations

import experiments.models.fields


def forget(apps, schema_editor):
    """Let the importance of experiments with several objectives be computed anew, for each of them."""
    apps.get_model("experiments", "Importance").objects.filter(experiment__front_size__gt=0).delete()


class Migration(migrations.Migration):
    dependencies = [("experiments", "0065_sessions_second_factor")]

    operations = [
        migrations.AddField(
            model_name="importance",
            name="further",
            field=experiments.models.fields.ExactJSONField(default=dict),
        ),
        migrations.RunPython(forget, migrations.RunPython.noop),
    ]
