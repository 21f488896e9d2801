"""Auto-pause (setting `breaker`): pause an experiment whose trials fail with the same error."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING

from experiments.models.status import ExperimentState, TrialState

from .failure_cause import key_of
from .outcome import Failure

if TYPE_CHECKING:
    from experiments.models.experiment.model import Experiment

BREAKER_SHARE = 0.8  # of the last trials, that failed with the same error


def pause_on_repeated_failures(experiment: Experiment) -> None:
    """Pause the experiment when four in five of the last `breaker` trials (a setting) failed with the same error."""
    limit = experiment.settings.breaker
    enough = ceil(limit * BREAKER_SHARE)
    if not limit or experiment.failed_count < enough or experiment.state != ExperimentState.RUNNING:
        return
    last = experiment.trials.exclude(settled_rank=None).exclude(state=TrialState.STOPPED)
    # Failures from before the last unpause, resume or change have been handled.
    looked = experiment.events.filter(verb__in=("unpause", "resume", "update")).first()
    if looked:
        last = last.filter(ended_at__gt=looked.at)
    shown = ("state", "failure", "detail", "exit_code", "signal", "experiment")
    ends = list(last.order_by("-settled_rank").only(*shown)[:limit])
    failed = [trial for trial in ends if trial.state == TrialState.FAILED]
    if len(ends) < limit or len(failed) < enough:
        return
    (cause, count), *_ = Counter(map(key_of, failed)).most_common(1)
    if count < enough:
        return
    latest = next(trial for trial in failed if key_of(trial) == cause)
    share = f"{limit} trials in a row" if count == limit else f"{count} of the last {limit} trials"
    label = Failure(latest.failure).label.lower()
    experiment.pause(by=None, because=f"{share} failed with the same error ({label}): {latest.detail}")
