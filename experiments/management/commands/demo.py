"""`trialdeck demo`: create the workspace `demo` and start a real search in it."""

from __future__ import annotations

from django.core.management.base import BaseCommand
from django.db import transaction

from experiments.management.arguments import check_database
from experiments.models import Experiment, Workspace
from experiments.models.account.user import ensure_owner
from experiments.models.sample_experiment import start_sample


class Command(BaseCommand):
    help = "Create the workspace demo, and start a search for the hyperparameters of a small network in it."

    def handle(self, **_: object) -> None:
        check_database()
        experiment = start()
        self.stdout.write(f"  {'demo':9} started          {experiment}")


def start() -> Experiment:
    """Start the demo experiment in the workspace `demo`, as the owner."""
    owner, _ = ensure_owner()
    with transaction.atomic():
        workspace = Workspace.objects.filter(slug="demo").first() or Workspace.open(
            "demo", name="Demo", owner=owner
        )
        return start_sample(workspace, by=owner)
