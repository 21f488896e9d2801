from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0074_names_in_admin'),
    ]

    operations = [
        migrations.AddField(
            model_name='point',
            name='elapsed_s',
            field=models.FloatField(blank=True, null=True),
        ),
    ]
