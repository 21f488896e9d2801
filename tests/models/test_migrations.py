"""Rows that an earlier version wrote are right after the migrations, on each database."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.databases import allow_more_connections, database_of
from tests.support.processes import ROOT, manage

LAST_REPLACED = "0080_drop_covered_indexes"

# Two experiments of the version before: an early-stopped trial was the best of one, the other was stopped under way.
ROWS = """
import django, uuid
django.setup()
from django.db import connection
from django.db.migrations.loader import MigrationLoader
loader = MigrationLoader(connection, replace_migrations=False)
apps = loader.project_state([("experiments", "0015_no_claim")]).apps
model = lambda name: apps.get_model("experiments", name)._base_manager
alice = model("User").create(username="alice")
lab = model("Workspace").create(slug="lab", name="Lab")
project = model("Project").create(workspace=lab, name="Default")
def experiment(public_id, **columns):
    made = model("Experiment").create(
        workspace=lab, project=project, public_id=public_id, name="first", creator=alice, metric="loss",
        direction="maximize", algorithm="Random", concurrency=1, **columns,
    )
    revision = model("Revision").create(experiment=made, number=1, document={})
    return lambda number, **values: model("Trial").create(
        experiment=made, revision=revision, number=number, params={}, values_digest="x", settled_rank=number, **values
    )
add = experiment("early000", state="completed", early_stopped_count=1, best_number=2, best_value=0.6, trace=[[2, 0.6]])
add(1, state="succeeded", value=0.1)
add(2, state="early_stopped", value=0.6)
add(3, state="succeeded", value=0.2)
add = experiment("stopped0", state="stopped")
add(1, state="stopped", detail="stopped with its experiment")
add(2, state="stopped", detail="stopped by alice")
"""

# As versions did that had no squashed migration.
MIGRATE_ONE_BY_ONE = """
import django
django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
def migrate(name):
    executor = MigrationExecutor(connection)
    executor.loader = MigrationLoader(connection, replace_migrations=False)
    executor.migrate([("experiments", name)])
"""

READ = """
import django, json
django.setup()
from experiments.models import Experiment, Trial
early = Experiment.objects.get(public_id="early000")
print(json.dumps({
    "best": [early.best_number, early.best_value, early.trace],
    "results": list(early.trials.order_by("number").values_list("result", flat=True)),
    "interrupted": list(Trial.objects.filter(was_interrupted=True).values_list("experiment__public_id", "number")),
}))
"""


def run(script: str, env: dict[str, str]) -> str:
    """What the script prints, with the console's settings."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**env, "DJANGO_SETTINGS_MODULE": "console.settings"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_an_early_stopped_best_is_corrected_and_interrupted_trials_are_marked(fresh: dict[str, str]) -> None:
    """TD-V2 TD-A9: best is of succeeded trials; what stopped with its experiment is retried by a resume."""
    run(MIGRATE_ONE_BY_ONE + 'migrate("0015_no_claim")', fresh)
    run(ROWS, fresh)
    migrated = manage("migrate", "-v0", env=fresh, within=120)
    assert migrated.returncode == 0, migrated.stderr
    assert json.loads(run(READ, fresh)) == {
        "best": [3, 0.2, [[1, 0.1], [3, 0.2]]],
        "results": [0.1, None, 0.2],
        "interrupted": [["stopped0", 1]],
    }


# The columns of a table may stand in another order: the parts of its statement are compared, sorted.
SCHEMA = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'",
    "postgresql": """
        SELECT table_name || '.' || column_name, concat_ws(',', data_type, is_nullable, column_default,
            character_maximum_length) FROM information_schema.columns WHERE table_schema = 'public'
        UNION SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
}


def tables_of(database: BaseDatabaseWrapper) -> dict[str, list[str]]:
    """Each table, index and constraint with its definition."""
    with database.cursor() as cursor:
        cursor.execute(SCHEMA[database.vendor])
        return {name: sorted(re.split(r",\s*|\(|\)", definition)) for name, definition in cursor.fetchall()}


@pytest.mark.timeout(300)
@pytest.mark.django_db
def test_the_squashed_migration_makes_the_same_tables(
    fresh: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S1: a new database begins with it, an older one never has it; later migrations must fit both."""
    run(MIGRATE_ONE_BY_ONE + f"migrate({LAST_REPLACED!r})", fresh)
    upgraded = manage("migrate", "-v0", env=fresh, within=120)
    assert upgraded.returncode == 0, upgraded.stderr
    allow_more_connections(monkeypatch)
    with database_of(fresh) as one_by_one:
        expected = tables_of(one_by_one)
    assert tables_of(connection) == expected
    assert len(expected) > 100
