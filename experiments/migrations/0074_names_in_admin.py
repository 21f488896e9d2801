import experiments.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0073_exhausted'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='delivery',
            options={'ordering': ['-pk'], 'verbose_name_plural': 'deliveries'},
        ),
        migrations.AlterField(
            model_name='experiment',
            name='public_id',
            field=models.CharField(default=experiments.models.fields.new_public_id, editable=False, max_length=8, unique=True, verbose_name='ID'),
        ),
        migrations.AlterField(
            model_name='formerexperiment',
            name='public_id',
            field=models.CharField(max_length=8, primary_key=True, serialize=False, verbose_name='ID'),
        ),
        migrations.AlterField(
            model_name='historyimport',
            name='public_id',
            field=models.CharField(default=experiments.models.fields.new_public_id, editable=False, max_length=8, unique=True, verbose_name='ID'),
        ),
        migrations.AlterField(
            model_name='model',
            name='public_id',
            field=models.CharField(default=experiments.models.fields.new_public_id, editable=False, max_length=8, unique=True, verbose_name='ID'),
        ),
        migrations.AlterField(
            model_name='warmresults',
            name='public_id',
            field=models.CharField(default=experiments.models.fields.new_public_id, editable=False, max_length=8, unique=True, verbose_name='ID'),
        ),
    ]
