"""When an experiment ends, and how far a trial is: from durations alone."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from experiments.scheduler.estimate import Finished, Running, progress, simulate

pytestmark = pytest.mark.once


def test_progress_is_what_the_trial_reported() -> None:
    """TD-C2: 15 of 20 steps in 30 s leave 10 s, whatever earlier trials took."""
    reported = Running(30, last_step=14, steps_done=15, steps_total=20)
    done = progress(reported, Finished([1000.0], [100]))
    assert done is not None and (done.share, done.left_s, done.is_reported) == (0.75, 10, True)


def test_progress_by_the_steps_of_earlier_trials() -> None:
    done = progress(Running(30, last_step=14), Finished([40.0, 41.0], [19, 19]))
    assert done is not None and (done.share, done.left_s, done.is_reported) == (0.75, 10, False)


def test_progress_by_the_durations_of_earlier_trials() -> None:
    """Those that ended sooner say nothing about a trial that still runs."""
    done = progress(Running(30), Finished([10.0, 20.0, 40.0, 60.0, 80.0]))
    assert done is not None and (done.share, done.left_s) == (0.5, 30)


def test_a_trial_longer_than_all_before_is_almost_done() -> None:
    done = progress(Running(300), Finished([10.0]))
    assert done is not None and done.share == 0.99 and done.left_s < 1


def test_nothing_tells_how_far_the_first_trial_is() -> None:
    assert progress(Running(30), Finished()) is None
    assert progress(Running(30, last_step=3, steps_total=20), Finished()) is None


def test_the_range_holds_most_ends() -> None:
    """TD-C2: trials of 55 s in the mean, on 1 to 8 slots, looked at when a quarter has ended."""
    inside = 0
    for seed in range(60):
        random = Random(seed)
        slots = random.choice((1, 2, 4, 8))
        free, intervals = [0.0] * slots, []
        for _ in range(60):
            start, seconds = free[0], random.lognormvariate(4, 0.3)
            heapq.heapreplace(free, start + seconds)
            intervals.append((start, start + seconds))
        now = sorted(end for _, end in intervals)[15]
        finished = Finished(
            [end - start for end, start in sorted((e, s) for s, e in intervals) if end <= now]
        )
        running = [Running(now - start) for start, end in intervals if start <= now < end]
        waiting = sum(start > now for start, _ in intervals)
        (low, high), _ = simulate(running, finished, to_start=waiting, slots=slots, seed=seed)
        inside += low <= max(free) - now <= high
        assert high < 2 * low + 200
    assert inside >= 40


def test_running_trials_that_take_longer_count() -> None:
    """Three quick trials have ended, five have run for ten times as long: those to come are not all quick."""
    finished = Finished([10.0, 10.0, 10.0])
    (quick, _), _ = simulate([], finished, to_start=20, slots=4, seed=1)
    (slow, _), _ = simulate([Running(100.0)] * 5, finished, to_start=20, slots=4, seed=1)
    assert slow > 3 * quick


def test_a_clear_trend_goes_on_and_noise_does_not() -> None:
    random = Random(1)
    growing = [10.0 + at for at in range(40)]
    (low, _), _ = simulate([], Finished(growing), to_start=20, slots=1, seed=1)
    assert low > 20 * 50, "not 20 times the mean, which is 30"
    random.shuffle(growing)
    (low, high), _ = simulate([], Finished(growing), to_start=20, slots=1, seed=1)
    assert low < 20 * 30 < high < 20 * 45


@pytest.mark.parametrize("to_start", [0, 1, 60, 61, 100_000])
def test_any_number_of_trials_costs_the_same(to_start: int) -> None:
    """The sum and the end belong together, also beyond what is simulated one by one."""
    (low, high), (least, most) = simulate([], Finished([10.0] * 50), to_start=to_start, slots=2, seed=1)
    assert low <= to_start * 5 + 5 and high >= to_start * 5 and high <= to_start * 7 + 10
    assert least <= to_start * 10 <= most


def test_the_limit_of_a_trial_holds() -> None:
    (_, high), (_, most) = simulate(
        [Running(5.0)], Finished([100.0] * 20), to_start=10, slots=1, seed=1, limit_s=20
    )
    assert high <= 11 * 20 and most <= 11 * 20


def test_durations_of_zero_are_no_fault() -> None:
    assert simulate([Running(0.0)], Finished([0.0, 0.0]), to_start=3, slots=1, seed=1)[0] == (0.0, 0.0)
