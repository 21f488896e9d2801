"""Create experiment: the form, its checks, what it makes, and who may."""

import re
import threading
from functools import partial

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Event, Experiment, Queue, Refused, Settings, Worker, Workspace
from experiments.models.settings.settings import draw_seed
from tests.people import as_
from tests.support.threads import Thread

pytestmark = pytest.mark.once

NEW = "/w/lab/experiments/new/"

# What a browser sends of a form that somebody filled in.
FILLED = {
    "name": "resnet  sweep",
    "tags": "cvpr, nightly ,",
    "visibility": "private",
    "description": "Two\nlines",
    "command": "set -x\r\npython train.py --lr ${lr}",
    "passes_arguments": "on",
    "directory": " /data/project ",
    "environment": "CUDA_VISIBLE_DEVICES=0\r\n# a comment\r\n\r\nURL=http://x/?a=b\r\nEMPTY=",
    "metric": "val_accuracy",
    "direction": "minimize",
    "selection": "best",
    "goal": "0.05",
    "source": "stdout",
    "pattern": "acc=([0-9.]+)",
    "metric_path": "",
    "weights": "val_accuracy=1\r\nlatency=-0.5",
    "space_as": "rows",
    "space-0-name": "lr",
    "space-0-type": "loguniform",
    "space-0-values": "1e-5, 0.1",
    "space-1-name": "layers",
    "space-1-type": "choice",
    "space-1-values": "1, 2, 3",
    "space-2-name": "",
    "space-2-type": "uniform",
    "space-2-values": "",
    "space_document": "",
    "algorithm": "TPE",
    "algorithm_arguments": "n_startup_trials=20\r\nmultivariate = false",
    "seed": "7",
    "max_trials": "40",
    "concurrency": "3",
    "max_duration_s": "1d 4h",
    "max_trial_duration_s": "90",
    "stop_grace_s": "1.5m",
    "retries": "1",
    "breaker": "0",
    "starting_points": "",
    "early_stopping": "Medianstop",
    "early_stopping_arguments": "start_step=5",
    "submission": "3f2c9f2e-64d5-4d0c-8a57-1b9c0f3f7d11",
}
SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 0.1]},
    "layers": {"_type": "choice", "_value": [1, 2, 3]},
}


@pytest.fixture
def send(client, lab, bob):
    """Sends the filled form as bob, with changes; the button is `start` unless told otherwise."""

    def post(button: str = "start", /, headers: dict | None = None, **changes):
        client.force_login(bob)
        form = {
            **FILLED,
            "project": lab.projects.get().pk,
            "queue": Queue.default().pk,
            button: "1",
            **changes,
        }
        return client.post(
            NEW, {name: value for name, value in form.items() if value is not None}, headers=headers
        )

    return post


def errors(page) -> dict[str, list[str]]:
    return {name: list(sentences) for name, sentences in page.context["form"].errors.items()}


# --- making ----------------------------------------------------------------------------------------------------


def test_it_makes_what_was_typed_and_starts_it(send, lab, bob, worker):
    """TD-F1 to TD-F8: every field arrives; Start creates and enqueues."""
    points = '{"lr": 0.01}\n\n{"lr": 0.002, "layers": 2}'
    answer = send(starting_points=points)
    experiment = Experiment.objects.get()
    assert answer["Location"] == reverse("experiment", args=["lab", experiment.public_id])
    assert experiment.settings == Settings(
        command="set -x\npython train.py --lr ${lr}",
        space_document=SPACE,
        directory="/data/project",
        environment={"CUDA_VISIBLE_DEVICES": "0", "URL": "http://x/?a=b", "EMPTY": ""},
        passes_arguments=True,
        metric="val_accuracy",
        direction="minimize",
        source="stdout",
        pattern="acc=([0-9.]+)",
        selection="best",
        weights={"val_accuracy": 1, "latency": -0.5},
        goal=0.05,
        algorithm="TPE",
        algorithm_arguments={"n_startup_trials": 20, "multivariate": False},
        seed=7,
        max_trials=40,
        concurrency=3,
        max_duration_s=28 * 3600,
        max_trial_duration_s=90,
        stop_grace_s=90,
        retries=1,
        breaker=0,
        starting_points=[{"lr": 0.01}, {"lr": 0.002, "layers": 2}],
        early_stopping="Medianstop",
        early_stopping_arguments={"start_step": 5},
    )
    assert (experiment.name, experiment.tags, experiment.visibility) == (
        "resnet sweep",
        ["cvpr", "nightly"],
        "private",
    )
    assert (experiment.creator, experiment.project.name, experiment.description) == (
        bob,
        "Default",
        "Two\nlines",
    )
    assert (experiment.state, experiment.queue.name) == ("pending", "default")
    assert [event.verb for event in Event.objects.order_by("pk")] == ["create", "enqueue"]


def test_a_draft_is_only_saved(send):
    """TD-F: Save as draft."""
    send("draft")
    experiment = Experiment.objects.get()
    assert (experiment.state, experiment.queue.name) == ("draft", "default")


def test_back_after_save_as_draft_leads_to_the_draft(send, client, lab, alice, bob):
    """TD-D7: what was typed is in the draft, whose page is shown instead of an empty form, until it is enqueued."""
    submission = "11111111-2222-4333-8444-555555555555"
    send("draft", submission=submission)
    draft = Experiment.objects.get()
    assert 'data-back="?saved=' in client.get(NEW).content.decode()
    edit = reverse("experiment-edit", args=["lab", draft.public_id])
    assert client.get(f"{NEW}?saved={submission}")["Location"] == edit
    for other in ("", "x\0", "11111111-2222-4333-8444-000000000000"):
        assert client.get(NEW, {"saved": other}).status_code == 200
    assert as_(alice).get(f"{NEW}?saved={submission}").status_code == 200, "another session"
    draft.enqueue(by=bob)
    assert client.get(f"{NEW}?saved={submission}").status_code == 200


SEVERAL = {
    "weights": "", "goal": "", "source": "sdk", "selection": "final", "early_stopping": "none",
    "early_stopping_arguments": "", "further_objectives": "latency_ms=minimize\r\n# later\r\nf1 = maximize",
}  # fmt: skip


def test_further_objectives_are_typed_one_per_line(send):
    """TD-C9"""
    send("draft", **SEVERAL)
    settings = Experiment.objects.get().settings
    assert settings.further_objectives == {"latency_ms": "minimize", "f1": "maximize"}


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"further_objectives": "latency_ms=down"}, "further_objectives", "must be one of: maximize, minimize"),
        ({"further_objectives": "latency_ms"}, "further_objectives", "NAME=VALUE"),
        ({"further_objectives": "val_accuracy=maximize"}, "further_objectives", "is already the first objective"),
        ({"goal": "0.5"}, "goal", "A goal requires a single objective."),
        ({"early_stopping": "Medianstop"}, "early_stopping", "Early stopping compares one metric."),
        ({"algorithm": "Anneal", "algorithm_arguments": ""}, "algorithm", "Anneal optimizes one objective."),
    ],
)  # fmt: skip
def test_what_several_objectives_exclude_is_a_sentence_at_its_field(send, changes, field, sentence):
    """TD-C9"""
    page = send(**{**SEVERAL, **changes})
    assert page.status_code == 422 and sentence in " ".join(errors(page)[field])
    assert list(errors(page)) == [field] and not Experiment.everything.exists()


def test_a_try_is_one_trial_with_the_first_values_of_the_preview(send, client):
    """TD-F2: the draft is saved and stays one; its try is an experiment of its own, in the queue at once."""
    shown = send("preview").content.decode()
    answer = send("try")
    draft, tried = Experiment.objects.get(state="draft"), Experiment.objects.exclude(state="draft").get()
    trial = tried.trials.get()
    edit = reverse("experiment-edit", args=["lab", draft.public_id])
    assert answer["Location"] == f"{edit}?test={tried.public_id}#counts"
    assert (draft.name, draft.trials.count(), draft.max_trials) == ("resnet sweep", 0, 40)
    assert (tried.name, tried.parent, tried.tags) == (
        "Test run of resnet sweep",
        draft,
        ["try", "cvpr", "nightly"],
    )
    assert (tried.state, tried.visibility, tried.max_trials) == ("pending", "private", 1)
    assert (
        not tried.settings.breaker and tried.settings.early_stopping == "none" and tried.settings.goal is None
    )
    same = ("command", "environment", "directory", "space_document", "pattern", "max_trial_duration_s")
    assert all(getattr(tried.settings, name) == getattr(draft.settings, name) for name in same)
    assert (trial.state, trial.number) == ("waiting", 1) and f"--lr {trial.params['lr']}" in shown
    assert (
        b"is saved as a draft. This test run executes its command once."
        in client.get(answer["Location"]).content
    )


def test_a_try_clicked_twice_is_one(send):
    """TD-F2: also when the page was opened anew; what is under way with these settings is what one gets."""
    assert send("try")["Location"] == send("try")["Location"]
    assert Experiment.objects.count() == 2


def test_a_search_space_may_be_json(send):
    """TD-F4: rows or JSON; what counts is what is seen."""
    text = '{"units": {"_type": "randint", "_value": [8, 64]}}'
    send(space_as="json", space_document=text, command="python train.py")
    assert Experiment.objects.get().settings.space_document == {
        "units": {"_type": "randint", "_value": [8, 64]}
    }


def test_empty_fields_take_their_meaning(send):
    send(
        metric="default", goal="", max_trials="", max_duration_s="", max_trial_duration_s="", stop_grace_s="0",
        environment="", weights="", algorithm_arguments="", tags="", description="", passes_arguments=None,
        source="sdk", pattern="", early_stopping="none", early_stopping_arguments="",
    )  # fmt: skip
    settings = Experiment.objects.get().settings
    assert (settings.metric, settings.goal, settings.max_trials, settings.max_duration_s) == (
        "default",
        None,
        None,
        None,
    )
    assert (settings.max_trial_duration_s, settings.stop_grace_s, settings.environment) == (None, 0, {})


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("90", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d 4h", 100_800),
        ("1d4h", 100_800),
        ("1.5H", 5400),
        ("0.5", None),
    ],
)
def test_a_duration_is_written_as_people_write_it(send, typed, seconds):
    page = send(max_duration_s=typed)
    if seconds is None:
        assert errors(page) == {"max_duration_s": ["This must be at least 1 s."]}
    else:
        assert Experiment.objects.get().settings.max_duration_s == seconds


def test_what_a_trial_has_for_itself_is_typed_and_said_when_no_worker_has_it(send, client, worker):
    """TD-F8: cores and memory, with a sentence on nonsense; empty is not asked for."""
    assert errors(send(cores="0", memory_mib="lots")) == {
        "cores": ["This must be at least 1."],
        "memory_mib": ["Enter a size such as 4 GiB or 512 MiB; a number without a unit is GiB."],
    }
    assert errors(send(memory_mib="8 MiB")) == {"memory_mib": ["This must be at least 16 MiB."]}
    answer = send(cores="2", memory_mib="1.5")
    experiment = Experiment.objects.get()
    assert (experiment.cores, experiment.memory_mib, experiment.settings.memory_mib) == (2, 1536, 1536)
    html = client.get(answer["Location"]).content.decode()
    assert "no worker of this queue has 2 cores and 1.5 GiB of memory (--cores, --memory)" in html
    assert "Trials start when a worker with enough resources serves this queue" in html
    assert 'value="1.5 GiB"' in client.get(f"{NEW}?from={experiment.public_id}").content.decode()
    settings = client.get(reverse("experiment-configuration", args=["lab", experiment.public_id]))
    assert "1.5 GiB" in settings.content.decode()


def test_it_says_that_nobody_serves_the_queue(send, client, lab, worker):
    """PAI-S2: pending is not running; the page says what is missing."""
    gpu = Queue.objects.create(name="gpu", is_open=True)
    Queue.objects.create(name="secret")
    html = send("preview").content.decode()
    assert "gpu (no worker)" in html and ">default<" in html and "secret" not in html
    answer = send(queue=gpu.pk)
    messages = [str(message) for message in client.get(answer["Location"]).context["messages"]]
    assert messages == ["Enqueued in gpu, which has no worker. Trials start when one is online."]


# --- checking --------------------------------------------------------------------------------------------------

FAULTS = [
    ({"name": " "}, "name", "Enter a name"),
    ({"name": "x" * 201}, "name", "the maximum is 200"),
    ({"tags": ",".join("x" * 51 for _ in range(1))}, "tags", "At most 20 tags"),
    ({"command": "   "}, "command", "The command is empty"),
    ({"command": ""}, "command", "Enter the command"),
    ({"command": "echo '${lr}'"}, "command", "quotes"),
    ({"command": "echo\necho ${nope}"}, "command", "Line 2: ${nope} is not a parameter"),
    ({"environment": "A=1\nB"}, "environment", "Line 2: enter NAME=VALUE"),
    ({"environment": "A=1\nA=2"}, "environment", "Line 2: A is already defined"),
    ({"environment": "1A=1"}, "environment", "is not a valid name"),
    ({"environment": "TRIALDECK_X=1"}, "environment", "are reserved"),
    ({"directory": "data/project"}, "directory", "Enter an absolute path"),
    ({"metric": "", "early_stopping": "none", "early_stopping_arguments": ""}, "metric", "Enter the metric"),
    ({"pattern": ""}, "pattern", "Enter a regular expression, for example accuracy: {number}"),
    ({"pattern": "(" + "x" * 1000 + ")"}, "pattern", "the maximum is 1,000"),
    ({"pattern": "("}, "pattern", "Invalid regular expression"),
    ({"source": "file"}, "metric_path", "Enter the path"),
    ({"source": "file", "metric_path": "${outdir}/r.json"}, "metric_path", "${outdir} is not a placeholder"),
    ({"weights": "a=b"}, "weights", "must be a number"),
    ({"goal": "nan"}, "goal", "number"),
    ({"algorithm": "Magic"}, "algorithm", "Invalid choice"),
    ({"algorithm": "Batch", "algorithm_arguments": ""}, "algorithm", "a single parameter"),
    ({"algorithm_arguments": "n_startup=1"}, "algorithm_arguments", "Did you mean n_startup_trials"),
    ({"fixed": "lr=5"}, "fixed", "lr: 5 is outside the search space: loguniform [1e-05, 0.1]."),
    ({"constraints": "lr < 1\n\nlr * layer < 1"}, "constraints", "Constraint 2, column 6: Unknown parameter"),
    ({"constraints": "lr * layers"}, "constraints", "column 1: Expected a condition but got a value"),
    ({"constraints": "lr > 1"}, "constraints", "None of 2,000 random draws meets lr > 1; relax this constraint."),
    ({"constraints": "layers < 3", "starting_points": '{"layers": 3}'}, "starting_points", "Point 1: it violates the"),
    ({"fixed": "layers=3", "starting_points": '{"layers": 2}'}, "starting_points", "Point 1: layers conflicts"),
    ({"starting_points": '{"lr": 0.01}\n[1]'}, "starting_points", "Line 2: enter a JSON object"),
    ({"starting_points": '{"lr": 9}'}, "starting_points", "Point 1, lr: 9 is outside the search space"),
    ({"starting_points": '{"rl": 0.01}'}, "starting_points", "Did you mean lr?"),
    ({"warm_start": "abcd"}, "warm_start", "such as abcd2345"),
    ({"warm_start": "abcd2345"}, "warm_start", "No experiment abcd2345 that you can view exists in this workspace"),
    ({"starting_points": "{}"}, "starting_points", "list of objects with values"),
    ({"early_stopping_arguments": "start_step=x"}, "early_stopping_arguments", "whole number"),
    ({"seed": ""}, "seed", "Enter a number"),
    ({"seed": "-1"}, "seed", "at least 0"),
    ({"max_trials": "0"}, "max_trials", "at least 1"),
    ({"max_trials": "9" * 5000}, "max_trials", "whole number"),
    ({"concurrency": "many"}, "concurrency", "whole number"),
    ({"max_duration_s": "10 minutes"}, "max_duration_s", "for example 90s, 10m, 2h or 1d 4h"),
    ({"max_duration_s": "4 4"}, "max_duration_s", "for example 90s"),
    ({"stop_grace_s": "2h"}, "stop_grace_s", "at most 3,600"),
    ({"project": "0"}, "project", "Invalid choice"),
    ({"queue": "0"}, "queue", "no access to the queue"),
    ({"space-0-values": "1, 0"}, "space_document", "lr._value: The lower bound 1 is greater than the upper bound 0"),
    ({"space-1-name": "lr"}, "space_document", "Another row has this name."),
    ({"space-1-type": "nope"}, "space_document", "Unknown type 'nope'"),
    ({"space_as": "json", "space_document": ""}, "space_document", "empty"),
    ({"space_as": "json", "space_document": '{"lr":\n]'}, "space_document", "Line 2, column 1"),
    ({"space_as": "json", "space_document": "[" * 50_000}, "space_document", "nested too deeply"),
    ({"name": "a\0b"}, "name", "NUL character"),
    ({"environment": "A=\0"}, "environment", "NUL"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "sentence"), FAULTS, ids=[f"{f}-{s[:20]}" for _, f, s in FAULTS]
)
def test_a_fault_is_a_sentence_at_its_field_and_nothing_is_made(send, changes, field, sentence):
    """TD-F: each validated with a sentence. Nothing is made by halves."""
    page = send(**changes)
    assert page.status_code == 422
    field_errors = errors(page)
    assert list(field_errors) == [field] and sentence in " ".join(field_errors[field])
    html = page.content.decode()
    assert "Fix 1 field to create the experiment" in html
    assert html.index('class="errors"') < html.index('id="experiment-form"') and f'href="#id_{field}"' in html
    assert f'id="id_{field}"' in html
    assert Experiment.everything.count() == Event.objects.count() == 0


def test_all_faults_are_said_at_once_and_what_was_typed_stays(send):
    typed = {
        "name": "",
        "description": "kept <b>",
        "command": "echo ${nope}",
        "concurrency": "many",
        "max_duration_s": "soon",
        "space-0-values": "1, 0",
        "space-5-name": "later",
        "space-5-type": "choice",
        "space-5-values": '"a, b", c',
        "environment": "A",
    }
    page = send(**typed)
    assert set(errors(page)) == {"name", "concurrency", "max_duration_s", "space_document", "environment"}
    html = page.content.decode()
    for text in (
        "kept &lt;b&gt;",
        "echo ${nope}",
        'value="many"',
        'value="soon"',
        'value="1, 0"',
        'value="later"',
    ):
        assert text in html, text
    assert "&quot;a, b&quot;, c" in html and ">\nA</textarea>" in html
    assert '<option data-hint="choices: 16, 32, adam" selected>choice</option>' in html
    assert 'value="stdout"' in html and "checked" in html.split('value="stdout"')[1][:60]
    assert FILLED["submission"] in html


@pytest.mark.parametrize("button", ["start", "try"])
def test_a_refusal_while_it_starts_leaves_nothing_behind(button, send, lab, monkeypatch):
    """All or nothing: a draft that could not be enqueued, or tried, is not left lying about."""

    def refuse(*args: object, **options: object) -> None:
        raise Refused("The queue gpu is no longer available.")

    monkeypatch.setattr(Experiment, "enqueue", refuse)
    page = send(button)
    assert page.status_code == 409 and "is no longer available" in page.content.decode()
    assert 'value="resnet  sweep"' in page.content.decode()
    assert Experiment.everything.count() == 0


# --- once ------------------------------------------------------------------------------------------------------


def test_the_same_page_sent_again_makes_nothing_new(send):
    first, second = send(), send()
    assert first["Location"] == second["Location"] and Experiment.objects.count() == 1


def test_going_back_and_changing_something_makes_another(send):
    send()
    send(name="another")
    assert Experiment.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_double_click_makes_one(lab, bob):
    """Two requests at the same time, as two clicks make them."""
    clients = [Client(), Client()]
    clients[0].force_login(bob)
    clients[1].cookies = clients[0].cookies
    form = {**FILLED, "project": lab.projects.get().pk, "queue": Queue.default().pk, "draft": "1"}
    together = threading.Barrier(2)
    answers = []

    def click(client: Client) -> None:
        together.wait(20)
        answers.append(client.post(NEW, form)["Location"])

    for thread in [Thread(partial(click, client)) for client in clients]:
        thread.outcome()
    assert len(answers) == 2 and len(set(answers)) == 1
    assert Experiment.objects.count() == 1


# --- preview ---------------------------------------------------------------------------------------------------

FRAGMENT = {"HX-Request": "true", "HX-Target": "preview"}


def test_the_preview_shows_five_draws_and_the_command_of_the_first(send):
    """TD-F4: the first five draws are shown; nothing is made."""
    page = send("preview", headers=FRAGMENT)
    html = page.content.decode()
    assert page.status_code == 200 and html.strip().startswith("<section") and "<html" not in html
    draws = Settings.checked({"command": "x", "space_document": SPACE}).space.draws(5, seed=7)
    for draw in draws:
        assert f'title="{draw["lr"]}"' in html
    assert "infinite search space" in html
    assert (
        f"python train.py --lr {draws[0]['lr']} --lr {draws[0]['lr']} --layers {draws[0]['layers']}" in html
    )
    assert Experiment.everything.count() == 0


def test_the_preview_begins_with_the_starting_points(send):
    """TD-F4: as the first trials will; a fixed value holds in all draws."""
    html = send(
        "preview", headers=FRAGMENT, fixed="layers=2", starting_points='{"lr": 0.0125}'
    ).content.decode()
    draws = re.findall(r'<td class="num" title="([^"]*)">', html)
    assert draws[0] == "0.0125" and len(set(draws[:5])) == 5 and draws[5:] == ["2"] * 5


def test_the_preview_obeys_the_constraints_and_counts_what_is_left(send):
    """NNI-S2, TD-F4."""
    space = {
        "space-0-type": "choice",
        "space-0-values": "1, 2, 4",
        "constraints": "lr * layers <= 4\nlr != layers",
    }
    html = send("preview", headers=FRAGMENT, **space).content.decode()
    draws = re.findall(r'<td class="num" title="([^"]*)">', html)
    assert "4 combinations" in html and len(draws) == 10
    assert all(
        lr != layers and int(lr) * int(layers) <= 4 for lr, layers in zip(draws[:5], draws[5:], strict=True)
    )


def test_the_preview_of_a_grid_is_its_first_trials(send):
    space = {
        "space-0-type": "choice",
        "space-0-values": "1, 2",
        "algorithm": "GridSearch",
        "algorithm_arguments": "",
    }
    html = send("preview", headers=FRAGMENT, **space).content.decode()
    assert "6 combinations" in html and "First 5 trials:" in html
    shown = re.findall(r'title="(\d)"', html)
    assert shown == ["1", "2", "1", "2", "1", "1", "1", "2", "2", "3"], "lr, then layers"
    html = send("preview", headers=FRAGMENT, **space, **{"space-1-values": "1"}).content.decode()
    assert "2 combinations" in html and "First 2 trials:" in html


def test_the_preview_tells_faults_from_what_is_not_filled_yet(send):
    html = send("preview", headers=FRAGMENT, name="", command="", concurrency="many").content.decode()
    assert "How much · Concurrency</a>: Enter a whole number." in html
    assert re.search(r"Required: .*name.*command|Required: .*command.*name", html)
    assert "Five samples" in html, "what can be shown is shown"
    html = send("preview", headers=FRAGMENT, **{"space-0-values": "1, 0"}).content.decode()
    assert "greater than the upper bound" in html and "appear once the search space is valid" in html


def test_the_preview_warns_of_what_gives_wrong_results(send):
    """TD-V3, TD-V4: with an error elsewhere, too."""
    html = send("preview", headers=FRAGMENT, name="").content.decode()
    assert "Regular expression: Reads only 7.539 of 7.539e-05" in html
    assert "Reads only" not in send("preview", headers=FRAGMENT, pattern="acc={number}").content.decode()
    shared = {"source": "file", "metric_path": "result.json", "directory": "/data/project"}
    assert (
        "JSON file: All trials write to this file"
        in send("preview", headers=FRAGMENT, **shared).content.decode()
    )
    for own in ({"metric_path": "${output_dir}/result.json"}, {"directory": ""}):
        assert "All trials" not in send("preview", headers=FRAGMENT, **(shared | own)).content.decode()


def test_without_script_the_preview_is_the_whole_page_with_its_faults(send):
    page = send("preview", name="")
    assert page.status_code == 200 and "<html" in page.content.decode()
    assert errors(page) == {"name": ["Enter a name."]} and page.context["preview"]


def test_turning_to_json_finds_the_rows_there_and_back(send):
    """TD-F4: rows and JSON are two views of one space."""
    headers = {"HX-Request": "true", "HX-Target": "id_space_document"}
    page = send("preview", headers=headers)
    assert page.content.decode().strip().startswith("<fieldset")
    text = page.context["form"].space_text
    page = send("preview", headers=headers, space_as="json", space_document=text)
    assert [(row.name, row.type, row.values) for row in page.context["form"].rows] == [
        ("lr", "loguniform", "1e-5, 0.1"),
        ("layers", "choice", "1, 2, 3"),
    ]


def test_rows_are_added_and_removed_without_script_and_without_judgement(send):
    page = send("add_row", name="")
    rows = page.context["form"].rows
    assert page.status_code == 200 and [row.name for row in rows] == ["lr", "layers", "", "", "", ""]
    assert errors(page) == {} and 'value="1e-5, 0.1"' in page.content.decode()
    page = send("drop", drop_row="0")
    assert [row.name for row in page.context["form"].rows] == ["layers", ""]
    assert Experiment.everything.count() == 0


def test_a_fresh_page_has_a_seed_of_its_own_and_judges_nothing(client, lab, bob):
    """TD-F5: a random seed for each form."""
    client.force_login(bob)
    pages = [client.get(NEW) for _ in range(6)]
    seeds = {page.context["form"]["seed"].value() for page in pages}
    assert len(seeds) > 1 and all(0 <= seed < 2**31 for seed in seeds)
    drawn = [draw_seed() for _ in range(500)]
    assert len({*drawn}) == 500, "no two experiments of a workspace search the same points by chance"
    assert len({page.context["form"]["submission"].value() for page in pages}) == 6
    html = pages[0].content.decode()
    assert 'class="error"' not in html and 'role="alert"' not in html
    first = re.search(r'<button[^>]*type="submit"[^>]*>', html.split('id="experiment-form"')[1])[0]
    assert 'name="preview"' in first, "Enter in a field must not start anything"


# --- who -------------------------------------------------------------------------------------------------------


def test_a_viewer_may_not_and_learns_what_is_missing(client, lab, carol):
    client.force_login(carol)
    for answer in (client.get(NEW), client.post(NEW, {**FILLED, "start": "1"})):
        assert answer.status_code == 403
        assert (
            "requires the operator role in the workspace Lab; your role is viewer" in answer.content.decode()
        )
    assert Experiment.everything.count() == 0


def test_another_workspaces_project_and_queue_cannot_be_used(send, alice):
    other = Workspace.open("other", owner=alice)
    granted = Queue.objects.create(name="theirs")
    granted.workspaces.add(other)
    assert "project" in errors(send(project=other.projects.get().pk))
    assert "queue" in errors(send(queue=granted.pk))
    assert Experiment.everything.count() == 0 and Worker.objects.count() == 0


def test_a_script_of_a_repository_needs_no_command(send, lab):
    """TD-F9, CML-S1: source, packages, container and output on Create."""
    data = {
        "repository": "git@example.org:team/code.git",
        "script": "train.py",
        "packages_from": "repository",
    }
    answer = send("draft", command="", directory="src", destination="s3://host:9000/bucket", **data)
    assert answer.status_code == 302
    settings = Experiment.objects.get().settings
    assert settings.run_command == "python train.py" and settings.packages_from == "repository"
    assert settings.destination == "s3://host:9000/bucket"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("repository", "--upload-pack=x", "must not begin with “-”"),
        ("reference", "a..b", "not a valid branch name"),
        ("destination", "s3://10.0.0.7/bucket", "requires a port"),
        ("packages_from", "list", "List at least one package"),
    ],
)
def test_a_source_that_cannot_be_is_refused_at_its_field(send, name, value, message):
    """TD-F9: nothing is made, the section stands open."""
    answer = send("draft", **{name: value})
    page = answer.content.decode()
    assert answer.status_code == 422 and message in page
    assert '<details class="more" open><summary>Repository, packages, container' in page
    assert not Experiment.objects.exists()
