"""What a program is told at the end: causes of failures, and how to go on, by doors that are open."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.waiting import eventually
from tests.trialdeck.conftest import REPORT, configured
from tests.trialdeck.test_experiment import held_until
from trialdeck import Experiment, Invalid, Refused, cli

TORCH = "echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1"


def test_run_returns_false_and_prints_the_cause_when_all_trials_failed(deck, capsys):
    """TD-V2, NNI-E2: not a green end."""
    experiment = configured("hopeless", trial_command=TORCH, max_trial_number=2)
    assert experiment.run(deck.port) is False
    printed = capsys.readouterr().out
    assert f"Experiment {experiment.id} failed: all 2 trials failed: ModuleNotFoundError" in printed
    assert "  2 × ModuleNotFoundError: No module named 'torch'" in printed
    assert experiment.get_status() == "ERROR"
    assert cli.main(["wait", experiment.id]) == 1
    assert cli.main(["resume", experiment.id, "--rerun-failed", "--wait"]) == 1
    assert [job.status for job in experiment.list_trial_jobs()] == ["FAILED"] * 4


def test_a_completed_run_with_failures_says_how_many_and_why(deck, started, tmp_path, capsys):
    """TD-V2, TD-A9: then the failed one is rerun, by Python and by the command line."""
    mended = tmp_path / "mended"
    command = (
        f"[ -e {mended} ] || [ ${{trial_id}} != $TRIALDECK_EXPERIMENT_ID-1 ] || {{ {TORCH}; }}\n{REPORT}"
    )
    partly = started("partly", trial_command=command, trial_concurrency=1)
    capsys.readouterr()
    assert partly.wait(progress=False) is True
    printed = capsys.readouterr().out
    assert f"Experiment {partly.id} completed: max trials reached, 1 of 2 trials failed." in printed
    assert "  1 × ModuleNotFoundError: No module named 'torch'" in printed
    (cause,) = partly.failures()
    assert (cause["count"], cause["trials"]) == (1, [1])
    with pytest.raises(Refused, match="Resume offers to rerun its failed trials"):
        partly.rerun(f"{partly.id}-1")
    with pytest.raises(Refused, match=r"Increase max trials, or rerun the failed trials \(1\)"):
        Experiment.resume(partly.id, deck.port)
    mended.touch()
    assert Experiment.resume(partly.id, deck.port, rerun_failed=True).get_status() == "DONE"
    assert [job.status for job in partly.list_trial_jobs()] == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    capsys.readouterr()
    assert cli.main(["resume", partly.id, "--rerun-failed"]) == 1
    assert capsys.readouterr().err.endswith(f"To resume: trialdeck resume {partly.id} --trialnum NUMBER\n")


def test_what_is_printed_at_a_stop_resumes_a_spent_budget(deck, started, tmp_path):
    """TD-A9: max 2, concurrency 2, stopped: the printed call brings both results."""
    go, pids = tmp_path / "go", tmp_path / "pids"
    held = started("held", trial_command=f"echo $$ >> {pids}\n" + held_until(go))
    eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2, within=30, what="two trials")
    held.stop()
    hint = held._how_to_resume()
    assert hint == f"To resume: Experiment.resume('{held.id}', {deck.port})"
    go.touch()
    resumed = eval(hint.removeprefix("To resume: "), {"Experiment": Experiment})  # noqa: S307 - what a person would type
    assert resumed.get_status() == "DONE"
    assert [job.status for job in resumed.list_trial_jobs()] == ["USER_CANCELED"] * 2 + ["SUCCEEDED"] * 2


def test_the_hint_names_what_a_resume_needs(deck, started, tmp_path):
    """TD-A9: nothing interrupted and the budget spent: a larger one, or the failed."""
    fine = started("fine", max_trial_number=1)
    fine.wait(progress=False)
    assert fine._how_to_resume().endswith(", max_trial_number=…)")
    bad = started("bad", trial_command="exit 3", max_trial_number=1)
    bad.wait(progress=False)
    assert bad._how_to_resume().endswith(", rerun_failed=True)")
    for too_little in (
        lambda: Experiment.resume(fine.id, deck.port),
        lambda: Experiment.resume(fine.id, deck.port, max_trial_number=1),
        lambda: fine.update_max_trial_number(1),
    ):
        with pytest.raises(Refused, match=r"budget is spent: 1 of 1 .* max_trial_number=…\)$"):
            too_little()
    assert Experiment.resume(fine.id, deck.port, max_trial_number=2).get_status() == "DONE"
    with pytest.raises(Invalid, match="max_trial_number"):
        Experiment.resume(fine.id, deck.port, max_trial_number=0)


@pytest.mark.parametrize(
    ("reason", "argument"),
    [
        ("max trials reached", "max_trial_number=…"),
        ("max duration reached", "max_experiment_duration='…'"),
        ("goal reached", "goal=…"),
    ],
)
def test_the_hint_names_the_argument_for_what_is_spent(monkeypatch, reason, argument):
    """TD-A9: no other budget opens it."""
    ended = Experiment()
    ended.id = "7f3k2m9q"
    left = {"interrupted": 0, "failed": 0, "needs_budget": True, "spent": reason}
    row = {"id": "7f3k2m9q", "state": "stopped", "reason": "stopped by bob", "to_resume": left}
    monkeypatch.setattr(ended, "_read", lambda: row)
    monkeypatch.setattr(ended, "_connected", lambda: SimpleNamespace(port=8000))
    assert ended._how_to_resume() == f"To resume: Experiment.resume('7f3k2m9q', 8000, {argument})"


def test_the_hint_names_no_call_that_is_refused(monkeypatch):
    """TD-A9: every value was tried, and none failed."""
    ended = Experiment()
    monkeypatch.setattr(ended, "_read", lambda: {"state": "completed", "reason": "", "to_resume": None})
    monkeypatch.setattr(ended, "_connected", lambda: SimpleNamespace(port=8000))
    assert ended._how_to_resume() == "Every value in the search space was tried: nothing is left to resume."


def test_a_new_experiment_draws_its_seed_and_is_repeated_with_it(deck, started):
    """TD-V12: two Random experiments propose other points; with the seed that one shows, the same."""

    def values(experiment: Experiment) -> list[dict]:
        assert experiment.wait(progress=False) is True
        return [job.hyperParameters[0].parameters for job in experiment.list_trial_jobs()]

    first_experiment, two = (started(name, max_trial_number=5) for name in ("seed 1", "seed 2"))
    first, second = values(first_experiment), values(two)
    assert first != second and first_experiment.config.seed != two.config.seed
    again = started("seed 1 again", max_trial_number=5, seed=first_experiment.config.seed)
    assert values(again) == first
