from datetime import timedelta
from types import SimpleNamespace

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max
from django.utils import timezone

from experiments.models.trial.failure_cause import key_of

AT_ONCE = 1000
REMEMBERED_FOR = timedelta(days=90)
EVIDENCE = ("failure", "exit_code", "signal", "detail")


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The causes of the failures of the last 90 days: a cause from before the upgrade is not new after it. The database
    groups equal failures, so that a row is read for each different text, not for each trial."""
    causes = apps.get_model("experiments", "SeenCause")._base_manager
    trials = apps.get_model("experiments", "Trial")._base_manager
    failed = (
        trials.filter(state="failed", ended_at__gte=timezone.now() - REMEMBERED_FOR, experiment__imported_from="")
        .exclude(failure="worker_lost")
        .order_by()
    )
    groups = failed.values_list(
        "experiment__workspace", "experiment__visibility", "experiment__creator", *EVIDENCE
    ).annotate(Max("ended_at"))
    last_at = {}
    for workspace, visibility, creator, *evidence, at in groups.iterator(chunk_size=AT_ONCE):
        person = creator if visibility == "private" else None
        key = workspace, person, key_of(SimpleNamespace(**dict(zip(EVIDENCE, evidence, strict=True))))
        last_at[key] = max(at, last_at.get(key, at))
    rows = (
        causes.model(workspace_id=workspace, private_to_id=person, key=key, last_at=at)
        for (workspace, person, key), at in last_at.items()
    )
    causes.bulk_create(rows, batch_size=AT_ONCE, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("experiments", "0078_rule_selection")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
