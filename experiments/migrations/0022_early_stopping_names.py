from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0021_fill_metric_values'),
    ]

    operations = [
        migrations.RenameField('trial', 'judged_by', 'rule_revision'),
        migrations.RenameField('trial', 'judged_step', 'checked_step'),
    ]
