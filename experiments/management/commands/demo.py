"""`trialdeck demo`: create the workspace `demo` and start a search on real data in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand
from django.db import transaction

from experiments.management.arguments import check_database
from experiments.models import Experiment, Queue, Settings, Workspace
from experiments.models.user import ensure_owner

SPACE = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "hidden": {"_type": "randint", "_value": [8, 129]},
    "alpha": {"_type": "loguniform", "_value": [1e-6, 1e-1]},
    "activation": {"_type": "choice", "_value": ["relu", "tanh", "logistic"]},
    "batch_size": {"_type": "choice", "_value": [16, 32, 64, 128]},
}


class Command(BaseCommand):
    help = "Create the workspace demo, and start a search on scikit-learn's handwritten digits in it."

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
        experiment = Experiment.draft(
            workspace,
            by=owner,
            name="handwritten digits",
            description="A small neural network on scikit-learn's handwritten digits: find its best hyperparameters.",
            tags=["demo"],
            settings=Settings.checked(
                {
                    "command": "python train.py",
                    "directory": str(Path(django_settings.ROOT) / "examples" / "digits"),
                    # The example needs scikit-learn, which the Python of the console has.
                    "environment": {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
                    | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
                    "space_document": SPACE,
                    "metric": "accuracy",
                    "direction": "maximize",
                    "algorithm": "TPE",
                    "seed": 7,
                    "max_trials": 40,
                    "concurrency": 2,
                    "early_stopping": "Medianstop",
                    "early_stopping_arguments": {"start_step": 5},
                }
            ),
        )
        experiment.enqueue(by=owner, queue=Queue.default())
    return experiment
