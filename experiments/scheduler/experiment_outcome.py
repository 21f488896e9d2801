"""End an experiment whose search is over: completed, or failed if no trial has a result."""

from __future__ import annotations

from experiments.models import Experiment, ExperimentState, TrialState, status
from experiments.models.trial.failure_groups import groups_of


def complete(experiment: Experiment, *, because: str) -> bool:
    """End the experiment. If no trial has a result, it fails, and the most common cause becomes its reason."""
    if _has_result(experiment) or not _total(experiment):
        return experiment.finish(ExperimentState.COMPLETED, because=because)
    return experiment.finish(ExperimentState.FAILED, because=why_no_result(experiment)[:1000])


def why_no_result(experiment: Experiment) -> str:
    """Return `all 12 trials failed: ModuleNotFoundError: No module named 'torch'`. At most two queries."""
    total, failed = _total(experiment), experiment.failed_count
    if failed < total:
        counts = {
            "failed": failed,
            "stopped early": experiment.early_stopped_count,
            "stopped": experiment.stopped_count,
        }
        listed = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        text = f"no trial has a result ({listed})"
    else:
        text = f"all {total:,} trials failed" if total > 1 else "the only trial failed"
    groups, _ = groups_of(experiment)
    if not groups:
        return text
    most = len(groups[0].trials)
    alike = f", {most:,} with the same error" if len(groups) > 1 and most > 1 else ""
    return f"{text}{alike}: {groups[0].text}"


def _has_result(experiment: Experiment) -> bool:
    """Return whether a trial succeeded, or ended with a result while it was being stopped."""
    if experiment.succeeded_count:
        return True
    return experiment.trials.filter(state=TrialState.STOPPED).exclude(value=None).exists()


def _total(experiment: Experiment) -> int:
    return sum(experiment.count(state) for state in status.TRIAL_STATES)
