"""TD-C3: what the filter language finds among an experiment's trials, on a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.filters.language import FilterError
from experiments.filters.trials import TrialFields, select_trials, written
from experiments.models import Comment, Experiment, MetricValue, Outcome, Point, Trial, TrialParameter
from experiments.models.trial.parameter import digest

SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "opt": {"_type": "choice", "_value": ["sgd", "adam", "7", True, None]},
    "value": {"_type": "uniform", "_value": [0, 1]},
    "batch-size": {"_type": "choice", "_value": [16, 32]},
}
ROWS = [  # opt, lr, batch-size, state, value, seconds
    ("sgd", 1e-5, 16, "succeeded", 0.1, 30),
    ("adam", 1e-4, 32, "succeeded", 0.9, 700),
    ("7", 1e-3, 16, "failed", None, 5),
    (True, 1e-2, 32, "early_stopped", 0.95, 90),
    (None, 0.1, 16, "succeeded", 0.5, 4000),
    ("sgd", 0.5, 32, "waiting", None, None),
]

FIELDS = [
    "number",
    "state",
    "detail",
    "value",
    "step",
    "best",
    "duration",
    "created",
    "worker",
    "revision",
    "lr",
    "opt",
    "f1",
    "partial",
    "final.f1",
    "error_group",
]
ODD_VALUES = [
    "1",
    "-1e308",
    "1e400",
    "99999999999999999999",
    "failed",
    "2d",
    "1e-400",
    "none",
    "'",
    "%",
    "2026-11-01",
    "1..5",
    "..",
    "1..",
    "a,b",
    "1d..2d",
]


@pytest.fixture
def experiment(draft: Callable[..., Experiment]) -> Experiment:
    made = draft(space_document=SPACE, direction="maximize")
    for number, (opt, lr, batch, state, value, seconds) in enumerate(ROWS, 1):
        params = {"lr": lr, "opt": opt, "value": number / 10, "batch-size": batch}
        trial = Trial(
            experiment=made,
            revision=made.revision,
            number=number,
            params=params,
            values_digest=digest(params, "x"),
            state=state,
            failure="exit_code" if state == "failed" else "",
            detail="ValueError: 100% wrong" if state == "failed" else "",
            value=value,
            duration_s=seconds,
            created_at=timezone.now() - timedelta(days=number),
        )
        trial.save(force_insert=True)
        TrialParameter.objects.bulk_create([TrialParameter.of(trial, *pair) for pair in params.items()])
        if value is not None:
            Point.keep([Point(trial=trial, name="f1", step=step, value=value - step) for step in (0, 1)])
        if state != "waiting":
            trial.final_metrics = {"f1": -0.1, "recall": 0.8, "odd": "nan"} if number == 2 else {}
            MetricValue.keep(trial)
    made.trials.filter(number=2).update(
        starred_at=timezone.now(), comment_count=1, notes=["Processes left in the background"],
        peak_memory=1536, cpu_s=90, steps_done=3, steps_total=9,
    )  # fmt: skip
    Comment.objects.create(trial=made.trials.get(number=2), text="A good one")
    made.trials.filter(number=4).update(rerun_of=made.trials.get(number=1))
    return made


def find(experiment: Experiment, text: str, *, by_trial: bool = False) -> list[int]:
    fields = TrialFields(experiment, ["f1", "recall"], by_trial=by_trial)
    return sorted(fields.filter(experiment.trials.all(), text).values_list("number", flat=True))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("state:failed", [3]),
        ('state:"Stopped early"', [4]),
        ("state in (succeeded, waiting)", [1, 2, 5, 6]),
        ("not state:succeeded", [3, 4, 6]),
        ("state!=succeeded", [3, 4, 6]),
        ("failure=exit_code", [3]),
        ("detail~100%", [3]),
        ("detail~100_", []),
        ("valueerror", [3]),
        ("#2 or 3", [2, 3]),
        ("number>=5", [5, 6]),
        ("number=1.5", []),
        ("number>1e30", []),
        ("value>0.5", [2]),
        ("accuracy>0.5", [2]),
        ("value>0.5 or partial>0.5", [2, 4]),
        ("partial>0", [4]),
        ("partial=none", [1, 2, 3, 5, 6]),
        ("partial!=none", [4]),
        ("partial!=0.95", [1, 2, 3, 5, 6]),
        ("value:0.1..0.5", [1, 5]),
        ("value!=0.1..0.5", [2, 3, 4, 6]),
        ("lr:1e-4..1e-2", [2, 3, 4]),
        ("lr in (1e-5, 0.1..1)", [1, 5, 6]),
        ("opt:sgd,adam", [1, 2, 6]),
        ("opt!=sgd,adam", [3, 4, 5]),
        ("f1:-0.5..0", [2, 4, 5]),
        ("duration:10s..2m", [1, 4]),
        ("created:2d12h..4d12h", [3, 4]),
        ("starred:yes", [2]),
        ("starred=no", [1, 3, 4, 5, 6]),
        ("is_starred!=true", [1, 3, 4, 5, 6]),
        ("comments>0", [2]),
        ("comment~GOOD", [2]),
        ('comment="A good one"', [2]),
        ("comment=none", [1, 3, 4, 5, 6]),
        ("comment!=none", [2]),
        ("note~LEFT", [2]),
        ('note~"Left in"', [2]),
        ("note~100_", []),
        ("peak_memory>=1KiB", [2]),
        ("peak_memory=1.5KiB", [2]),
        ("peak_memory:1kb..1536", [2]),
        ("peak_memory=none", [1, 3, 4, 5, 6]),
        ("peak_memory>99999999999TB", []),
        ("cpu_time>1m", [2]),
        ("cpu_s>1m duration_s>0 or cpu_s=90", [2]),
        ("log_size=0", [1, 2, 3, 4, 5, 6]),
        ("folder_size=none", [1, 2, 3, 4, 5, 6]),
        ("rerun_of=1", [4]),
        ("rerun_of=none", [1, 2, 3, 5, 6]),
        ("retries=0 pid=none", [1, 2, 3, 4, 5, 6]),
        ("steps_done:3 steps_total:9", [2]),
        ("duration_s>10m", [2, 5]),
        ("value>=0.5 state:succeeded", [2, 5]),
        ("not value>0.5", [1, 3, 4, 5, 6]),
        ("value=none", [3, 4, 6]),
        ("value>inf or value<-inf", []),
        ("best:2", [2, 5]),
        ("best:2 lr<1e-2", [2]),
        ("lr<=1e-4", [1, 2]),
        ("lr=0.1", [5]),
        ("lr!=0.1", [1, 2, 3, 4, 6]),
        ("lr in (0.1, 0.5)", [5, 6]),
        ("(lr<1e-4 or opt=sgd) number<9", [1, 6]),
        ("opt=7", [3]),
        ("opt=True or opt=None", [4, 5]),
        ("opt=true", [4]),
        ("opt~DA", [2]),
        ("param.value>0.45", [5, 6]),
        ('"value">0.45', [5, 6]),
        ('"batch-size"=16', [1, 3, 5]),
        ("f1>-0.3", [2, 4]),
        ("metric.f1<-0.6", [1]),
        ("f1=none", [3, 6]),
        ("f1!=-0.5", [1, 2, 3, 4, 6]),
        ("m.f1>-0.3", [2, 4]),
        ("metric.nothing>0", []),
        ("final.f1>-1", [2]),
        ("final.recall>=0.8", [2]),
        ("recall=none", [1, 3, 4, 5, 6]),
        ("final.nothing=none", [1, 2, 3, 4, 5, 6]),
        ("p.value>0.45", [5, 6]),
        ("rev=1 time>10m", [2, 5]),
        ("duration>10m", [2, 5]),
        ("duration<1h30s duration>1m30s", [2]),
        ("duration=30", [1]),
        ("created<2.5d", [1, 2]),
        ("created>4d12h", [5, 6]),
        ("worker=none", [1, 2, 3, 4, 5, 6]),
        ("STATE:Failed", [3]),
    ],
)
def test_what_is_found(experiment: Experiment, text: str, numbers: list[int]) -> None:
    assert find(experiment, text) == numbers
    assert find(experiment, text, by_trial=True) == numbers  # where few of many trials are read


def test_bounds_beyond_all_numbers(experiment: Experiment) -> None:
    """1e400 is infinite: every whole number lies below it, and none above."""
    everything = find(experiment, "")
    for text in ("number<1e400", "number<=1e400", "number>-1e400", "number<1e30", "number!=1e400"):
        assert find(experiment, text) == everything, text
    for text in ("number>1e400", "number<-1e400", "number>1e30", "number=1e400"):
        assert find(experiment, text) == [], text


def test_a_metric_of_a_running_trial_is_its_latest_point(experiment: Experiment) -> None:
    Trial.objects.filter(number=6).update(state="running")
    experiment.running_count = 1
    trial = Trial.objects.get(number=6)
    Point.keep([Point(trial=trial, name="f1", step=step, value=step) for step in (2, 10)])
    for by_trial in (False, True):
        assert find(experiment, "f1>5", by_trial=by_trial) == [6]
        assert find(experiment, "f1=none", by_trial=by_trial) == [3]
    assert find(experiment, "final.f1>5") == []


def test_the_metrics_that_trials_have_are_fields(running, lab) -> None:
    """Of settled trials those of the final result and the last points; of running ones what they report."""
    experiment = running(taken=2, concurrency=2)
    first, second = experiment.trials.order_by("number")[:2]
    Point.keep([Point(trial=first, name=name, step=0, value=1) for name in ("loss", "accuracy", "value")])
    first.settle(Outcome(value=0.5, exit_code=0, final_metrics={"f1": 0.7}))
    Point.keep([Point(trial=second, name="grad/norm", step=0, value=3)])
    experiment.refresh_from_db()
    fields = TrialFields.of(experiment)
    assert fields.metrics == ["f1", "grad/norm", "loss", "value"]
    after = len(fields.parameters)
    assert fields.names()[after : after + 4] == ["f1", "grad/norm", "loss", "metric.value"]
    wanted = {"f1>0.6": [1], "loss=1": [1], "grad/norm>2": [2], "metric.value=1": [1], "final.loss=1": []}
    for text, numbers in wanted.items():
        rows = fields.filter(experiment.trials.all(), text)
        assert sorted(rows.values_list("number", flat=True)) == numbers, text


def test_a_selection_names_its_error_and_keeps_the_last_valid_filter(experiment: Experiment) -> None:
    valid = select_trials(experiment, "state:failed")
    assert [trial.number for trial in valid.trials] == [3] and valid.error is None
    wrong = select_trials(experiment, "sate:failed", last="number>4")
    assert [trial.number for trial in wrong.trials] == [5, 6] and wrong.applied == "number>4"
    assert wrong.error and wrong.error.start == 0 and wrong.filter == "sate:failed"
    assert "did you mean “state”? (at character 1)" in str(wrong.error)
    assert select_trials(experiment, "(", last=")").trials.count() == 6


def test_dates_are_days_of_the_reader(experiment: Experiment) -> None:
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    for number in range(1, 7):
        experiment.trials.filter(number=number).update(created_at=noon - timedelta(days=number))
    day = (noon - timedelta(days=3)).date().isoformat()
    assert find(experiment, f"created={day}") == [3]
    assert find(experiment, f"created>{day}") == [1, 2]
    assert find(experiment, f"created>={day}") == [1, 2, 3]
    assert find(experiment, f"created<={day}") == [3, 4, 5, 6]
    assert find(experiment, f"created<{day}") == [4, 5, 6]
    assert find(experiment, f"created<{day}T12:00") == [4, 5, 6]
    assert find(experiment, f"created={day}T12:00") == [3]
    assert find(experiment, "created=yesterday") == [1]


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("sate:failed", 0, "no field “sate”; did you mean “state”?"),
        ("value>1 Lr<1", 8, "did you mean “lr”?"),
        ("zzzzzz=1", 0, "Fields: lr, opt, param.value,"),
        ("param.nope=1", 0, "no field “param.nope”"),
        ("state:faild", 6, "Did you mean “failed”?"),
        ("state:zzzzzzz", 6, "Possible values: waiting, running"),
        ("state>failed", 0, "cannot be compared with “>”"),
        ("value~3", 0, "cannot be compared with “~”"),
        ("f1~3", 0, "cannot be compared with “~”"),
        ("value>much", 6, "“much” is not a number"),
        ("value>nan", 6, "“nan” cannot be compared; use a number or none"),
        ("lr<small", 3, "“small” is not a number"),
        ("duration>10x", 9, "Write it as 90s, 10m"),
        ("created>soon", 8, "is not a time"),
        ("created>2026-13-01", 8, "is not a time"),
        ("created>9999-12-31", 8, "is not a time"),
        ("created<9999999999d", 8, "too long ago"),
        ("best:0", 5, "from 1 to 1000"),
        ("best>3", 5, "from 1 to 1000"),
        ("best:99999", 5, "from 1 to 1000"),
        ("value>1..2", 6, "A range takes"),
        ("value:1..x", 9, "“x” is not a number"),
        ("value>1,2", 8, "takes one value"),
        ("error_group>x", 0, "cannot be compared"),
    ],
)
def test_what_an_error_says_and_where(experiment: Experiment, text: str, start: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        find(experiment, text)
    assert words in caught.value.message
    assert caught.value.start == start


def test_only_trials_of_the_experiment_and_not_from_the_trash(
    experiment: Experiment, draft: Callable[..., Experiment]
) -> None:
    other = draft(space_document=SPACE)
    assert find(other, "lr<1") == []
    experiment.trials.filter(number=2).update(trashed_at=timezone.now())
    assert find(experiment, "best:2") == [1, 5]


def test_one_query_whatever_the_filter(experiment: Experiment) -> None:
    fields = TrialFields(experiment, ["f1"])
    with CaptureQueriesContext(connection) as queries:
        list(
            fields.filter(experiment.trials.all(), "best:3 (lr<1 or f1>0) not opt=sgd duration>1s created<9d")
        )
    assert len(queries) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(FIELDS),
            st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~", ":"]),
            st.sampled_from(ODD_VALUES)
            | st.text(max_size=8).map(lambda text: '"' + text.replace("\\", "").replace('"', "") + '"'),
        ),
        max_size=3,
    )
)
def test_no_filter_breaks_the_database(experiment: Experiment, terms: list[tuple[str, str, str]]) -> None:
    try:
        find(experiment, " ".join("".join(term) for term in terms))
    except FilterError as error:
        assert error.message


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 1e-4), ("opt", "sgd"), ("opt", True), ("opt", None), ("batch-size", 16)]
)
def test_a_cell_writes_the_filter_that_finds_it(experiment: Experiment, name: str, value: object) -> None:
    column = ("opt", "lr", "batch-size").index(name)
    wanted = [number for number, row in enumerate(ROWS, 1) if row[column] is value or row[column] == value]
    assert find(experiment, written(name, value)) == wanted
