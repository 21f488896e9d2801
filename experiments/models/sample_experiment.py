"""The sample: a real search, which shows a newcomer a complete experiment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings as django_settings
from django.db import transaction

from .account.user import User
from .compute.queue import Queue
from .experiment.model import Experiment
from .settings import Settings
from .workspace.workspace import Workspace

SPACE = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "hidden": {"_type": "randint", "_value": [8, 129]},
    "alpha": {"_type": "loguniform", "_value": [1e-6, 1e-1]},
    "activation": {"_type": "choice", "_value": ["relu", "tanh", "logistic"]},
    "batch_size": {"_type": "choice", "_value": [16, 32, 64, 128]},
}


def start_sample(workspace: Workspace, *, by: User) -> Experiment:
    """Create and enqueue the sample: 40 trials of a small network that reads distorted digits. Raise `Refused` where
    AutoML is off."""
    with transaction.atomic():
        experiment = Experiment.draft(
            workspace,
            by=by,
            name="distorted digits",
            description="A small neural network reads distorted digits: find its best hyperparameters.",
            tags=["demo"],
            settings=Settings.checked(
                {
                    "command": "python train.py",
                    "directory": str(Path(django_settings.ROOT) / "examples" / "digits"),
                    # The example needs numpy, which the Python of the console has.
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
        experiment.enqueue(by=by, queue=Queue.default())
    return experiment
