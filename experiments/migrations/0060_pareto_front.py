import django.db.models.deletion
import django.utils.timezone
import experiments.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0055_audit'),
    ]

    operations = [
        migrations.AddField(
            model_name='experiment',
            name='front_size',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='experiment',
            name='further_objectives',
            field=experiments.models.fields.ExactJSONField(default=dict),
        ),
        migrations.AddField(
            model_name='experiment',
            name='objective_bounds',
            field=experiments.models.fields.ExactJSONField(default=list),
        ),
        migrations.CreateModel(
            name='Hypervolume',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('epoch', models.IntegerField()),
                ('computed_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('succeeded_count', models.IntegerField()),
                ('reference', experiments.models.fields.ExactJSONField(default=list)),
                ('steps', experiments.models.fields.ExactJSONField(default=list)),
                ('problem', models.CharField(blank=True, max_length=200)),
                ('experiment', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='hypervolume', to='experiments.experiment')),
            ],
        ),
        migrations.CreateModel(
            name='FrontTrial',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('joined_result', models.IntegerField()),
                ('left_result', models.IntegerField(null=True)),
                ('loss_1', models.FloatField()),
                ('loss_2', models.FloatField()),
                ('loss_3', models.FloatField(default=0)),
                ('loss_4', models.FloatField(default=0)),
                ('experiment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='front_trials', to='experiments.experiment')),
                ('trial', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='front', to='experiments.trial')),
            ],
            options={
                'ordering': ['number'],
                'indexes': [models.Index(fields=['experiment', 'left_result', 'loss_1'], name='front_by_loss'), models.Index(fields=['experiment', 'joined_result'], name='front_by_result')],
            },
        ),
    ]
