"""Addresses of dashboards, and a dashboard with everything on it."""

from __future__ import annotations

from experiments.models import Dashboard, Experiment, SavedView
from experiments.web.dashboards.tile_numbers import FIGURES
from tests.people import as_

INDEX = "/w/lab/dashboards/"


def url_of(board: Dashboard, rest: str = "") -> str:
    return f"{INDEX}{board.pk}/{rest}"


def page(person, board: Dashboard) -> str:
    response = as_(person).get(url_of(board))
    assert response.status_code == 200
    return response.content.decode()


def places(board: Dashboard) -> list[str]:
    return [tile.title for tile in board.tiles.all()]


def fill(board: Dashboard, ended, alice) -> Experiment:
    """A tile of every kind, each chart and each figure among them."""
    experiment = ended("resnet", 0.5, 0.9)
    whole = SavedView.create(
        board.workspace, by=alice, name="All of them", query="sort=-best", is_shared=True
    )
    trials = SavedView.create(
        board.workspace,
        by=alice,
        name="Good ones",
        query="filter=value>0.6",
        is_shared=True,
        experiment=experiment,
    )
    board.add("chart", experiment=experiment, chart="history")
    board.add("leaderboard", project=experiment.project)
    board.add("view", view=whole)
    board.add("view", view=trials)
    for figure in FIGURES:
        board.add("number", figure=figure)
    board.add("capacity")
    board.add("text", text="# Plan\n\n<script>alert(1)</script> [home](javascript:x) **bold**")
    return experiment
