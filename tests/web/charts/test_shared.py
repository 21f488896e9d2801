"""Drawings that all readers share: drawn once, and not more often than a part of a core allows."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, User
from experiments.web.charts import shared
from tests.people import as_, look_at
from tests.web.trial.test_table import many

pytestmark = pytest.mark.django_db


def add(experiment: Experiment, count: int, *, last: int) -> None:
    many(experiment, count, last=last)
    Experiment.objects.filter(pk=experiment.pk).update(version=F("version") + 1)


def poll(client: Client, experiment: Experiment, tag: str) -> tuple[int, str, int]:
    """Ask for the history like live.js. Return the status, the tag, and how many trials it shows."""
    url = reverse("experiment", args=["lab", experiment.public_id])
    headers = {"HX-Request": "true", "HX-Target": "history", "If-None-Match": tag}
    response = client.get(url, headers=headers)
    shown = len(set(re.findall(r'href="[^"]*/trials/(\d+)/"', response.content.decode())))
    return response.status_code, response["ETag"], shown


def test_changes_faster_than_drawings_are_shown_a_moment_later(
    running: Callable[..., Experiment], bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-X6: the last change is shown too, although nothing changes after it."""
    experiment, client = running(), as_(bob)
    last = experiment.trials.count()
    add(experiment, 3, last=last)
    _, tag, before = poll(client, experiment, "")
    assert before
    add(experiment, 1, last=last + 3)
    monkeypatch.setattr(shared, "BUDGET_S", 0.0)  # used up
    status, late_tag, shown = poll(client, experiment, tag)
    assert (status, shown) == (200, before)
    assert poll(client, experiment, late_tag)[0] == 304
    monkeypatch.undo()
    status, tag, shown = poll(client, experiment, late_tag)
    assert (status, shown) == (200, before + 1)
    assert poll(client, experiment, tag)[0] == 304


def test_readers_who_need_the_same_wait_for_the_first(running: Callable[..., Experiment]) -> None:
    experiment = look_at(running())
    experiment.revision  # noqa: B018  read before the threads, which have no connection
    is_drawing, may_end, drawn = threading.Event(), threading.Event(), []

    def draw() -> str:
        is_drawing.set()
        assert may_end.wait(20)
        return "chart"

    def read() -> None:
        drawn.append(shared.drawn_once(experiment, draw, "same", version=(1,)))

    def fail() -> str:
        raise AssertionError("drawn twice")

    first = threading.Thread(target=read)
    first.start()
    assert is_drawing.wait(20)
    others = [
        threading.Thread(
            target=lambda: drawn.append(shared.drawn_once(experiment, fail, "same", version=(1,)))
        )
        for _ in range(3)
    ]
    for other in others:
        other.start()
    may_end.set()
    for each in [first, *others]:
        each.join(20)
    assert drawn == ["chart"] * 4
    assert not shared._drawing


def test_a_drawing_that_fails_does_not_block_the_next(running: Callable[..., Experiment]) -> None:
    experiment = running()
    with pytest.raises(ZeroDivisionError):
        shared.drawn_once(experiment, lambda: 1 / 0, "same", version=(1,))
    assert shared.drawn_once(experiment, lambda: "chart", "same", version=(1,)) == "chart"
    assert not shared._drawing
