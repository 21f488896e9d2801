"""Why failed trials cannot be rerun, for many trials in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.models import Experiment, Refused, Revision, Trial, TrialState, status
from experiments.models.trial.parameter import digest


def why_not(trials: Sequence[Trial], experiment: Experiment) -> dict[int, str]:
    """Return, by the number of each failed trial, why it cannot be rerun; an empty text if it can."""
    failed = [trial for trial in trials if trial.state == TrialState.FAILED]
    if not failed:
        return {}
    try:
        experiment.allows("rerun")
    except Refused as blank:
        return {trial.number: str(blank) for trial in failed}
    digests = _digests(failed, experiment)
    equals = (
        experiment.trials.filter(values_digest__in=set(digests.values()))
        .exclude(state__in=(TrialState.FAILED, TrialState.STOPPED))
        .order_by()
        .values_list("values_digest", "number", "state")
    )
    taken = {key: (number, state) for key, number, state in equals}
    return {number: _equal_reason(taken.get(key)) for number, key in digests.items()}


def why_not_together(trials: Sequence[Trial], experiment: Experiment) -> dict[int, str]:
    """Return the same for several trials that are rerun together: only the first of trials with equal values is
    rerun."""
    refusals = {
        trial.number: not_failed(trial) for trial in trials if trial.state != TrialState.FAILED
    } | why_not(trials, experiment)
    first: dict[str, int] = {}
    for number, key in _digests(
        [trial for trial in trials if not refusals[trial.number]], experiment
    ).items():
        if (earlier := first.setdefault(key, number)) != number:
            refusals[number] = f"#{earlier} has the same values. One rerun is enough."
    return refusals


def not_failed(trial: Trial) -> str:
    """Return the reason for a trial that has not failed, worded for one or several trials; empty for a failed one."""
    if trial.state == TrialState.FAILED:
        return ""
    return f"{status.TRIAL_STATES[trial.state].label}: only failed trials can be rerun."


def _digests(trials: Sequence[Trial], experiment: Experiment) -> dict[int, str]:
    revisions = {experiment.revision_id: experiment.revision}
    if earlier := {trial.revision_id for trial in trials} - revisions.keys():
        revisions |= Revision.objects.in_bulk(earlier)
    return {
        trial.number: digest(trial.params, revisions[trial.revision_id].settings.run_command)
        for trial in trials
    }


def _equal_reason(equal: tuple[int, str] | None) -> str:
    return f"#{equal[0]} has the same values and is {equal[1]}: nothing to rerun." if equal else ""
