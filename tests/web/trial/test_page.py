"""The page of one trial, its log, and its two acts: stop at once, rerun after a question."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from experiments.models import Event, Experiment, Failure, LogPiece, Outcome, Point, Queue, Settings, Trial
from experiments.models.trial.log import HEAD_BYTES, PIECE_BYTES, TAIL_BYTES
from experiments.web.trial import logs
from tests.models.test_matrix import STATES
from tests.people import as_, end_all, look_at
from tests.web.trial.test_table import many

pytestmark = pytest.mark.once


def url_of(trial: Trial, page: str = "trial") -> str:
    return reverse(page, args=["lab", trial.experiment.public_id, trial.number])


def page_of(user, trial: Trial, query: str = "", status_code: int = 200) -> str:
    response = as_(user).get(url_of(trial) + query)
    assert response.status_code == status_code
    return response.content.decode()


def message_text(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


@pytest.fixture
def taken(running) -> Trial:
    """A running trial."""
    return running().trials.get(number=1)


@pytest.fixture
def failed(running) -> Trial:
    """A failed trial of a running experiment that tries one at a time."""
    experiment = end_all(
        running(concurrency=1), Outcome(exit_code=3, failure=Failure.EXIT_CODE, detail="ValueError: no")
    )
    return experiment.trials.get(number=1)


# --- what it tells -------------------------------------------------------------------------------------------------


def test_a_running_trial_proves_that_it_lives(taken, bob):
    """TD-X5: worker, process, heartbeat."""
    taken.begun(pid=4711)
    Trial.objects.filter(pk=taken.pk).update(last_step=12, last_value=0.4321)
    html = page_of(bob, taken)
    assert "pid 4711" in html and re.search(r"\b[0-9]+ s ago", html) and "w1" in html
    assert "so far, at step 12" in html and "0.4321" in html
    assert f'<form method="post" action="{url_of(taken, "trial-stop")}"' in html
    assert 'data-live="2"' in html


def test_a_stopped_trial_proves_that_its_processes_are_gone(taken, bob):
    """TD-X5: "process tree gone after 1.8 s", peak memory, CPU time."""
    taken.stop(by=bob)
    taken.settle(Outcome(signal=15, gone_after_s=1.8, peak_memory=2_100_000_000, cpu_s=61))
    html = page_of(bob, taken)
    assert "gone after 1.8 s" in html and "SIGTERM (signal 15)" in html
    assert "2.1 GB" in html and "1 m 01 s" in html
    assert 'data-live="' not in html, "what is settled never changes"


def test_its_own_cores_and_what_holds_it_to_its_memory_are_told(taken, bob):
    """TD-F8: a limit that nothing enforces is called so."""
    own = Trial.objects.filter(pk=taken.pk)
    own.update(cores=[0, 3], memory_mib=1536, memory_limited_by="cgroup v2", pid=4711)
    html = page_of(bob, taken)
    assert "0, 3" in html and "1.5 GiB, by cgroup v2" in html
    own.update(memory_limited_by="")
    assert "1.5 GiB reserved; memory is not limited on this machine" in page_of(bob, taken)


def test_what_could_not_be_killed_is_named(taken, bob):
    taken.stop(by=bob)
    taken.settle(Outcome(survivors=(77, 78)))
    assert "could not be killed: pid 77, 78" in page_of(bob, taken)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            Outcome(exit_code=3, failure=Failure.EXIT_CODE, detail="ValueError: no"),
            "Exit code 3: ValueError: no",
        ),
        (Outcome(signal=11, failure=Failure.SIGNAL, detail="Ended by SIGSEGV."), "Ended by SIGSEGV."),
        (
            Outcome(exit_code=1, failure=Failure.OUT_OF_MEMORY, detail="MemoryError"),
            "Out of memory: MemoryError",
        ),
        (Outcome(exit_code=0), "The trial reported no final metric."),
        (
            Outcome(failure=Failure.SETUP, detail="The working directory /x does not exist"),
            "Setup: The working",
        ),
        (Outcome.lost("The worker w1 was lost."), "Worker lost: The worker w1 was lost."),
    ],
)
def test_a_failed_trial_tells_its_cause(taken, bob, outcome, words):
    """PAI-S1: with its cause and one line of detail."""
    taken.settle(outcome)
    html = page_of(bob, taken)
    assert words in html and 'data-status="failed"' in html


def test_values_can_be_taken_away_as_json(taken, bob):
    Trial.objects.filter(pk=taken.pk).update(params={"lr": 0.01, "name": 'a "quote" <b>'})
    copied = re.search(r'data-copy="([^"]*)"', page_of(bob, taken))[1]
    assert json.loads(unescape(copied)) == {"lr": 0.01, "name": 'a "quote" <b>'}


def test_notes_of_what_was_odd_are_shown(taken, bob):
    Trial.objects.filter(pk=taken.pk).update(notes=["line 3 was no JSON: <x>"])
    assert "line 3 was no JSON: &lt;x&gt;" in page_of(bob, taken)


def test_the_chain_of_attempts_is_linked_both_ways(failed, bob):
    """PAI-R3, TD-X2: linked to the failed one."""
    again = failed.rerun(by=bob)
    assert f'href="{url_of(failed)}">' in page_of(bob, again) and "attempt 2, after #1" in page_of(bob, again)
    html = page_of(bob, failed)
    assert "Attempts" in html and f'trials/{again.number}/">#{again.number}</a>' in html


def test_its_neighbours_are_one_click_away_also_over_a_gap(draft, bob):
    experiment = draft()
    many(experiment, 3)
    Trial.objects.filter(experiment=experiment, number=2).delete()
    first, last = experiment.trials.get(number=1), experiment.trials.get(number=3)
    assert f'href="{url_of(last)}" aria-label="Trial 3" rel="next"' in page_of(bob, first)
    assert f'href="{url_of(first)}" aria-label="Trial 1" rel="prev"' in page_of(bob, last)
    assert 'rel="prev"' not in page_of(bob, first)


def test_events_of_the_trial_and_of_no_other(running, bob):
    experiment = running(taken=2)
    experiment.trials.get(number=2).stop(by=bob)
    html = page_of(bob, experiment.trials.get(number=1))
    assert "started on w1" in html and "bob stopped" not in html


def test_a_trial_that_is_not_there_is_404(taken, bob, dave):
    base = reverse("experiment-trials", args=["lab", taken.experiment.public_id])
    assert as_(bob).get(f"{base}999/").status_code == 404
    assert as_(bob).get(f"{base}99999999999999999999/").status_code == 404
    for page in ("trial", "trial-log", "trial-stop", "trial-rerun"):
        assert as_(dave).get(url_of(taken, page)).status_code == 404
        assert Client().get(url_of(taken, page))["Location"].startswith(reverse("sign-in"))


def test_a_trial_in_the_trash_is_404(in_state, alice, bob):
    """TD-A10."""
    experiment = in_state("completed")
    trial = experiment.trials.get(number=1)
    experiment.reset(by=alice)
    assert as_(bob).get(url_of(trial)).status_code == 404


# --- its curves ----------------------------------------------------------------------------------------------------


def report(trial: Trial, name: str, values: list[float | None]) -> None:
    Point.keep([Point(trial=trial, name=name, step=step, value=value) for step, value in enumerate(values)])
    if name == trial.experiment.metric:
        Trial.objects.filter(pk=trial.pk).update(last_step=len(values) - 1, last_value=values[-1])


def test_the_objective_stands_among_its_siblings(running, bob):
    experiment = running(taken=2)
    first, two = experiment.trials.order_by("number")[:2]
    report(first, "accuracy", [0.1, 0.2, 0.3])
    report(two, "accuracy", [0.2, 0.3, 0.4])
    html = page_of(bob, first)
    assert "with 1 other trial" in html and html.count('class="sibling"') == 2  # wide and narrow


def test_the_curve_can_be_drawn_by_time(running, bob):
    """TD-C5: with its siblings, in a unit that fits; where there are no times, the choice says so."""
    experiment = running(taken=2)
    first, two = experiment.trials.order_by("number")[:2]
    report(first, "accuracy", [0.1, 0.2, 0.3])
    report(two, "accuracy", [0.2, 0.3, 0.4])
    assert "step only: these results have no timestamps." in page_of(bob, first, "?by=time")
    for step in range(3):
        Point.objects.filter(step=step).update(elapsed_s=step * 5400.0)
    html = page_of(bob, first)
    assert 'href="?by=time">Time</a>' in html and "by step, with 1 other trial" in html
    html = page_of(bob, first, "?by=time")
    assert "by time in minutes, with 1 other trial" in html and html.count('class="sibling"') == 2
    assert "accuracy by minutes" in html and 'href="?">Step</a>' in html
    assert "90" in page_of(bob, first, "?by=time&show=data") and "180" in page_of(
        bob, first, "?by=time&show=data"
    )
    page_of(bob, first, "?by=epoch", 400)


def test_other_metrics_are_a_link_away(taken, bob):
    report(taken, "accuracy", [0.1, 0.2])
    report(taken, "loss/train & more", [2.0, 1.0])
    html = page_of(bob, taken)
    assert 'href="?metric=loss%2Ftrain+%26+more"' in html
    assert "<h2>loss/train &amp; more</h2>" in page_of(bob, taken, "?metric=loss%2Ftrain+%26+more")
    unknown = page_of(bob, taken, "?metric=nothing", 400)
    assert "Invalid metric: “nothing”. Allowed: " in unknown and "<h2>accuracy</h2>" in unknown
    assert re.search(r"<td[^>]*>0\.20*</td>", page_of(bob, taken, "?show=data"))


def test_among_many_metrics_the_objective_comes_first_and_each_can_be_asked_for(taken, bob):
    """CML-T1: however late in the alphabet they stand."""
    for number in range(40):
        report(taken, f"a{number:02}", [1.0])
    report(taken, "accuracy", [0.5])
    html = page_of(bob, taken)
    assert "<h2>accuracy</h2>" in html and "a29" in html and "a35" not in html
    assert "<h2>a35</h2>" in page_of(bob, taken, "?metric=a35")
    unknown = page_of(bob, taken, "?metric=%00", 400)
    assert "Invalid metric: “�”. Allowed: " in unknown and "<h2>accuracy</h2>" in unknown


def test_a_long_curve_keeps_its_extremes_and_its_end(taken, bob):
    """100,000 points are not drawn one by one; the best among them is."""
    values = [0.5] * 20_000
    values[12_345], values[777] = 0.99, 0.01
    report(taken, "accuracy", values)
    html = page_of(bob, taken)
    assert "0.99" in html and "step 12,345" in html
    assert re.search(r"showing [\d,]+ points", html)
    assert len(html) < 400_000


def test_a_trial_without_results_says_so(taken, in_state, bob):
    assert "No metrics yet" in page_of(bob, taken)
    taken.settle(Outcome(exit_code=1, failure=Failure.EXIT_CODE))
    assert "No intermediate metrics." in page_of(bob, taken)


# --- its log -------------------------------------------------------------------------------------------------------


def printed(trial: Trial, data: bytes, *, but: tuple[int, int] = (0, 0)) -> None:
    """Stores a log in pieces as the writer does; the bytes from but[0] to but[1] were cut."""
    pieces = [
        LogPiece(
            trial=trial, offset=at, size=len(data[at : at + PIECE_BYTES]), data=data[at : at + PIECE_BYTES]
        )
        for at in range(0, len(data), PIECE_BYTES)
        if not but[0] <= at < but[1]
    ]
    LogPiece.objects.bulk_create(pieces, batch_size=50)
    Trial.objects.filter(pk=trial.pk).update(log_bytes=len(data))
    trial.log_bytes = len(data)


def lines(count: int) -> bytes:
    return b"".join(b"line %07d\n" % number for number in range(count))


def test_the_log_is_shown_as_a_terminal_would_and_never_as_html(taken, bob):
    """TD-X5, PAI-S1: carriage returns, colours, control characters, bytes that are no text."""
    printed(taken, b"\r 10%\r 99%\r100%\n\x1b[31mred\x1b[0m <script>alert(1)</script> \xff\x00end\n")
    html = page_of(bob, taken)
    assert (
        '100%\n<span class="ink-1">red</span> &lt;script&gt;alert(1)&lt;/script&gt; \N{REPLACEMENT CHARACTER}end'
        in html
    )
    assert "10%\r" not in html and "\x1b" not in html


def test_a_long_log_begins_with_its_end_and_goes_back_page_by_page(taken, bob):
    """Every byte once, cut between lines."""
    data = lines(30_000)
    printed(taken, data)
    read, until = b"", None
    for _ in range(20):
        window = logs.window(taken, until=until)
        read, until = window.text.encode() + read, window.earlier
        if until is None:
            break
    assert read == data
    html = page_of(bob, taken)
    assert "line 0029999" in html and "line 0000000" not in html
    earlier = re.search(r'href="([^"]*\?until=\d+)"', html)[1]
    page = as_(bob).get(earlier).content.decode()
    assert "line 0029999" not in page and "line 002" in page


def test_where_a_log_was_cut_it_says_how_much_is_missing(taken, bob):
    """The first and the last 8 MiB are kept."""
    data = lines(1_600_000)  # about 20 MB
    gap_end = (len(data) - TAIL_BYTES) // PIECE_BYTES * PIECE_BYTES
    printed(taken, data, but=(HEAD_BYTES, gap_end))
    missing = gap_end - HEAD_BYTES
    window = logs.window(taken, until=gap_end + PIECE_BYTES)
    assert (window.start, window.missing, window.earlier) == (gap_end, missing, HEAD_BYTES)
    html = as_(bob).get(f"{url_of(taken, 'trial-log')}?until={gap_end + PIECE_BYTES}").content.decode()
    assert f"({missing:,} bytes) omitted." in html and f"?until={HEAD_BYTES}" in html
    before = logs.window(taken, until=window.earlier)
    assert before.stop == HEAD_BYTES and before.missing == 0
    whole = b"".join(as_(bob).get(f"{url_of(taken, 'trial-log')}?download").streaming_content)
    head, tail = whole.split(f"\n[... {missing:,} bytes were not kept ...]\n".encode())
    assert head == data[:HEAD_BYTES] and tail == data[gap_end:]


def test_the_whole_log_comes_as_it_was_printed(taken, bob):
    data = b"\r 10%\r100%\x1b[0m\n\xff"
    printed(taken, data)
    response = as_(bob).get(f"{url_of(taken, 'trial-log')}?download")
    assert b"".join(response.streaming_content) == data
    assert response["Content-Disposition"] == f'attachment; filename="{taken}.log"'
    assert response["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("until", ["0", "-5", "abc", "9" * 30, "²", ""])
def test_a_place_that_is_not_there_gives_a_page(taken, bob, until):
    """TD-C3: the page says what is invalid, and is drawn without it."""
    printed(taken, b"hello\n")
    response = as_(bob).get(f"{url_of(taken, 'trial-log')}?until={until}")
    is_invalid = until not in ("0", "")
    assert response.status_code == (400 if is_invalid else 200)
    assert ("Invalid until: “" in response.content.decode()) == is_invalid


def test_one_endless_line_is_shown_all_the_same(taken):
    printed(taken, b"x" * 300_000)
    window = logs.window(taken)
    assert len(window.text) == PIECE_BYTES and window.earlier == 300_000 - PIECE_BYTES


def test_a_log_that_grows_is_news(taken, bob):
    """Live: what only the worker wrote changes the tag."""
    client, asks = as_(bob), {"HX-Request": "true", "HX-Target": "log"}
    printed(taken, b"one\n")
    first = client.get(url_of(taken), headers=asks)
    headers = {**asks, "If-None-Match": first["ETag"]}
    assert client.get(url_of(taken), headers=headers).status_code == 304
    LogPiece.keep([LogPiece(trial=taken, offset=0, size=8, data=b"one\ntwo\n")])
    Trial.objects.filter(pk=taken.pk).update(log_bytes=8, version=taken.version + 1)
    assert "two" in client.get(url_of(taken), headers=headers).content.decode()


# --- stop ----------------------------------------------------------------------------------------------------------


def test_stop_acts_at_once_and_leaves_the_experiment_running(taken, bob):
    """PAI-T1."""
    response = as_(bob).post(url_of(taken, "trial-stop"))
    assert response.status_code == 302 and message_text(response) == "Stopping #1."
    taken.refresh_from_db()
    assert (taken.state, taken.experiment.state) == ("stopping", "running")


def test_stop_leads_back_to_the_table_with_its_filters(taken, bob):
    table = reverse("experiment-trials", args=["lab", taken.experiment.public_id]) + "?state=running&page=2"
    response = as_(bob).post(url_of(taken, "trial-stop"), headers={"referer": f"http://testserver{table}"})
    assert response["Location"] == table


def test_a_waiting_trial_is_stopped_before_it_starts(running, bob):
    """TD-A15."""
    trial = running().trials.get(number=2)
    response = as_(bob).post(url_of(trial, "trial-stop"))
    assert message_text(response) == "Stopped #2 before it started."


def test_without_script_a_link_asks_first(taken, bob):
    html = as_(bob).get(url_of(taken, "trial-stop")).content.decode()
    assert "The trial and all its processes end" in html and ">Stop trial</button>" in html
    taken.refresh_from_db()
    assert taken.state == "running"


@pytest.mark.parametrize("method", ["get", "post"])
def test_stopping_a_trial_that_just_ended_is_harmless_and_says_so(taken, bob, method):
    """PAI-T2."""
    taken.settle(Outcome(value=0.5, exit_code=0))
    events = Event.objects.count()
    response = getattr(as_(bob), method)(url_of(taken, "trial-stop"))
    assert response.status_code == 302 and message_text(response) == "#1 had already ended: succeeded."
    assert Event.objects.count() == events


def test_stopping_twice_says_that_it_is_stopping(taken, bob):
    as_(bob).post(url_of(taken, "trial-stop"))
    assert message_text(as_(bob).post(url_of(taken, "trial-stop"))) == "#1 is already stopping."


def test_a_viewer_may_not_stop_it(taken, carol):
    response = as_(carol).post(url_of(taken, "trial-stop"))
    assert response.status_code == 403 and "requires the operator role" in response.content.decode()
    taken.refresh_from_db()
    assert taken.state == "running"


# --- mark as lost --------------------------------------------------------------------------------------------------


def test_an_owner_marks_a_trial_as_lost_after_reading_what_it_means(taken, alice):
    """TD-S2: it works while the worker sends heartbeats, and is retried."""
    page = page_of(alice, taken)
    assert url_of(taken, "trial-mark-lost") in page
    html = as_(alice).get(url_of(taken, "trial-mark-lost")).content.decode()
    assert "is retried with the same values" in html and ">Mark as lost</button>" in html
    response = as_(alice).post(url_of(taken, "trial-mark-lost"))
    again = taken.reruns.get()
    assert message_text(response) == f"Marked #1 as lost; #{again.number} retries it."
    taken.refresh_from_db()
    assert (taken.state, taken.failure, taken.detail) == (
        "failed",
        "worker_lost",
        "alice marked the trial as lost.",
    )
    assert taken.settle(Outcome(value=0.5)) is False, "its worker reports too late"
    assert message_text(as_(alice).post(url_of(taken, "trial-mark-lost"))) == "#1 had already ended: failed."
    assert "alice marked as lost" in page_of(alice, taken)


def test_a_stopping_trial_marked_as_lost_ends_its_experiment(taken, alice):
    """TD-S2 PAI-X2: Stop ends, whatever the worker does."""
    experiment = taken.experiment
    experiment.stop(by=alice)
    assert "without a result" in as_(alice).get(url_of(taken, "trial-mark-lost")).content.decode()
    assert (
        message_text(as_(alice).post(url_of(taken, "trial-mark-lost")))
        == "Marked #1 as lost, without a retry."
    )
    assert look_at(experiment).state == "stopped"


def test_a_waiting_trial_cannot_be_lost(running, alice):
    """TD-S2"""
    waiting = running().trials.get(number=2)
    response = as_(alice).post(url_of(waiting, "trial-mark-lost"))
    assert response.status_code == 409 and "has not started" in response.content.decode()


def test_an_operator_may_not_mark_it_as_lost(taken, bob):
    """TD-S2"""
    assert url_of(taken, "trial-mark-lost") not in page_of(bob, taken)
    assert as_(bob).post(url_of(taken, "trial-mark-lost")).status_code == 403


# --- rerun ---------------------------------------------------------------------------------------------------------


def test_rerun_asks_first_and_says_that_a_job_starts(failed, bob):
    """PAI-R2: only the confirmed POST acts."""
    html = as_(bob).get(url_of(failed, "trial-rerun")).content.decode()
    assert "starts a job with the same values and uses resources" in html
    assert "do not count against the budget" in html and "Exit code 3: ValueError: no" in html
    assert failed.reruns.count() == 0


def test_a_confirmed_rerun_is_a_new_trial_with_the_same_values(failed, bob):
    """PAI-R3: linked, free of budget; the failed one stays as it was."""
    proposed = failed.experiment.proposed_count
    response = as_(bob).post(url_of(failed, "trial-rerun"))
    again = failed.reruns.get()
    assert response["Location"] == url_of(again)
    assert (again.params, again.source, again.attempt) == (failed.params, "rerun", 2)
    failed.refresh_from_db()
    assert failed.state == "failed" and failed.experiment.proposed_count == proposed


def test_a_double_click_makes_one_rerun(failed, bob):
    """PAI-R4: the second is answered as done."""
    for _ in range(2):
        response = as_(bob).post(url_of(failed, "trial-rerun"))
        assert response.status_code == 302
    again = failed.reruns.get()
    assert response["Location"] == url_of(again) and "already retries #" in message_text(response)


def test_while_paused_the_question_says_that_it_will_wait(failed, bob):
    failed.experiment.pause(by=bob)
    assert "waits until it is unpaused" in as_(bob).get(url_of(failed, "trial-rerun")).content.decode()


@pytest.mark.parametrize(
    "state", ["waiting", "running", "stopping", "succeeded", "stopped", "early_stopped", "failed"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_only_a_failed_trial_can_be_rerun(failed, bob, state, method):
    """PAI-R1."""
    Trial.objects.filter(pk=failed.pk).update(state=state)
    response = getattr(as_(bob), method)(url_of(failed, "trial-rerun"))
    if state == "failed":
        assert response.status_code == (200 if method == "get" else 302)
    else:
        assert response.status_code == 409 and "Only a failed trial can be rerun" in response.content.decode()
        assert failed.reruns.count() == 0


@pytest.mark.parametrize(
    "equal", ["waiting", "running", "stopping", "succeeded", "stopped", "early_stopped", "failed"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_equal_that_succeeded_waits_or_runs_stands_in_the_way(failed, bob, equal, method):
    """PAI-R1, PAI-R4: refused with the reason."""
    with failed.locked():
        other = failed.copy(source="added", by=bob, revision=failed.revision)
    Trial.objects.filter(pk=other.pk).update(state=equal, rerun_of=None)
    response = getattr(as_(bob), method)(url_of(failed, "trial-rerun"))
    if equal in ("failed", "stopped"):
        assert response.status_code == (200 if method == "get" else 302)
    else:
        assert response.status_code == 409
        assert f"#{other.number} has the same values and is {equal}" in response.content.decode()


@pytest.mark.parametrize("state", STATES)
def test_rerun_only_while_the_experiment_runs_or_is_paused(failed, bob, state):
    """PAI-R1, TD-A14."""
    Experiment.objects.filter(pk=failed.experiment.pk).update(state=state)
    response = as_(bob).get(url_of(failed, "trial-rerun"))
    assert response.status_code == (200 if state in ("running", "paused") else 409)
    offered = f'href="{url_of(failed, "trial-rerun")}"' in page_of(bob, failed)
    assert offered == (state in ("running", "paused"))


def test_after_an_update_the_rerun_asks_which_settings(failed, bob):
    """TD-U7: "original" (default) or "current"."""
    experiment = failed.experiment
    assert 'name="command"' not in as_(bob).get(url_of(failed, "trial-rerun")).content.decode()
    changed = Settings.checked({**experiment.settings.document(), "command": "python other.py --lr ${lr}"})
    experiment.update(changed, by=bob, seen=1)
    html = as_(bob).get(url_of(failed, "trial-rerun")).content.decode()
    assert 'value="original" checked' in html and 'value="current"' in html
    as_(bob).post(url_of(failed, "trial-rerun"), {"command": "current"})
    assert failed.reruns.get().revision.number == 2


def test_a_viewer_may_not_rerun(failed, carol):
    for method in ("get", "post"):
        assert getattr(as_(carol), method)(url_of(failed, "trial-rerun")).status_code == 403
    assert failed.reruns.count() == 0


def test_the_question_says_what_the_rerun_would_wait_for(failed, bob):
    assert "The new trial waits" not in as_(bob).get(url_of(failed, "trial-rerun")).content.decode()
    Queue.objects.update(is_paused=True)
    html = as_(bob).get(url_of(failed, "trial-rerun")).content.decode()
    assert "The new trial waits: queue default is paused." in html


def test_the_page_of_a_trial_is_a_fixed_number_of_queries(draft, bob, django_assert_max_num_queries):
    """TD-X7: one trial or three hundred."""
    seen = []
    for name, count in (("small", 45), ("large", 300)):
        experiment = draft(name)
        many(experiment, count)
        Trial.objects.filter(experiment=experiment).update(last_step=0, last_value=0.5)
        Point.objects.bulk_create(
            Point(trial=trial, name="accuracy", step=0, value=0.5) for trial in experiment.trials.all()
        )
        client = as_(bob)
        with django_assert_max_num_queries(30) as queries:
            assert client.get(url_of(experiment.trials.get(number=22))).status_code == 200
        seen.append(len(queries))
    assert seen[0] == seen[1]
