"""Many short trials at many slots: the values shown are the values received, and no result is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment
from tests.support.crew import Crew
from tests.support.waiting import eventually

SPACE = {
    "x": {"_type": "uniform", "_value": [0, 1]},
    "n": {"_type": "randint", "_value": [0, 1000]},
    "word": {"_type": "choice", "_value": ["a", "b c", "it's"]},
}
# The result encodes the parameters as the process received them: on its command line and in its file.
COMMAND = r"""echo "got" ${x} ${n} ${word}
x=${x}
grep -q "\"x\": $x" "$TRIALDECK_PARAMETERS"
echo "{\"value\": $x, \"final\": true}" >> "$TRIALDECK_METRICS"
"""


def run(count: int, slots: int, crew: Crew, started: Callable[..., Experiment], within: float) -> Experiment:
    crew.control()
    crew.worker(slots=slots)
    experiment = started(command=COMMAND, space_document=SPACE, max_trials=count, concurrency=slots)

    def has_ended() -> bool:
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=within, every=0.2, what=f"the end of {experiment}")
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    trials = list(experiment.trials.all())
    assert len(trials) == count
    assert {trial.state for trial in trials} == {"succeeded"}
    wrong = [trial.number for trial in trials if trial.value != trial.params["x"]]
    assert not wrong
    for trial in trials[:: max(1, count // 50)]:
        output = b"".join(bytes(piece.data) for piece in trial.log_pieces.all()).decode().split(" ", 3)
        x, n, word = output[1], output[2], output[3].rstrip("\n")
        assert (float(x), int(n), word) == (trial.params["x"], trial.params["n"], trial.params["word"])
    assert experiment.succeeded_count == count and experiment.proposed_count == count
    return experiment


@pytest.mark.timeout(300)
def test_more_than_a_hundred_trials_at_eight_slots(crew: Crew, started: Callable[..., Experiment]) -> None:
    """TD-F2 TD-X5: 0 wrong parameters, 0 lost results."""
    run(120, 8, crew, started, within=200)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_trials_at_twenty_five_slots(crew: Crew, started: Callable[..., Experiment]) -> None:
    """TD-X7 TD-X8: 1,000 trials at 25 slots: 0 wrong parameters, 0 lost results."""
    run(1000, 25, crew, started, within=800)
