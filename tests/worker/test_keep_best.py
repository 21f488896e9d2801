"""Which files are deleted when only those of the best trials are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from experiments.models import Artifact, Experiment, Keeping, Outcome, Worker
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.artifacts import Collector

pytestmark = pytest.mark.django_db


def test_a_trial_that_is_settled_meanwhile_keeps_its_files(
    running: Callable[..., Experiment], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-V2: while the best are looked up, another slot settles a better one. Its files were deleted."""
    collector = Collector(
        trials_folder=settings.DATA / "trials", row=lambda: worker, ending=threading.Event()
    )
    experiment = running(keeps_best=1, max_trials=2, concurrency=2, taken=2)
    first, second = experiment.trials.order_by("number")
    for trial in (first, second):
        folder = TrialFolder(settings.DATA / "trials", experiment.public_id, trial.number)
        folder.create()
        (folder.output / "model.pt").write_text("weights")
        collector.see(trial)
    first.settle(Outcome(value=0.1))

    class Meanwhile:
        """What is read last."""

        def values_list(self, *_: object, **__: object) -> Iterator[int]:
            second.settle(Outcome(value=0.9))
            yield from ()

    monkeypatch.setattr(experiment, "interrupted_trials", Meanwhile)
    collector.keep_best(experiment, 1)
    keeping = dict(Artifact.objects.values_list("trial__number", "keeping"))
    assert keeping[second.number] == Keeping.LOCAL
    collector.keep_best(Experiment.objects.get(pk=experiment.pk), 1)
    keeping = dict(Artifact.objects.values_list("trial__number", "keeping"))
    assert keeping == {first.number: Keeping.DROPPED, second.number: Keeping.LOCAL}
