"""Parameters named in any script: from the command to files, filters and other programs."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest
from django.urls import reverse

from experiments.models import Experiment, Invalid, User
from tests.api.caller import Caller
from tests.life.test_values import local, run
from tests.people import as_, make_settings

__all__ = ["local", "run"]

pytestmark = pytest.mark.django_db(transaction=True)

SPACE = {
    "η": {"_type": "loguniform", "_value": [0.001, 0.1]},
    unicodedata.normalize("NFD", "größe"): {"_type": "choice", "_value": [8, 16]},
    "学习率": {"_type": "uniform", "_value": [0, 1]},
}
NAMES = {"η", "größe", "学习率"}
CODE = (
    "import sys, json, os, trialdeck as t; p = t.get_next_parameter(); "
    "assert float(sys.argv[1]) == p['η'] and int(sys.argv[2]) == p['größe'] and set(p) == {'η', 'größe', '学习率'}; "
    "t.report_final_result(p['学习率'])"
)


@pytest.mark.parametrize("algorithm", ["TPE", "Random", "CMA-ES"])
def test_parameters_have_names_of_any_script(
    run: Callable[..., Experiment], alice: User, api: Callable[..., Caller], algorithm: str
) -> None:
    """NNI-S1: composed, so that names that look the same are equal."""
    command = f'{sys.executable} -c "{CODE}" ${{η}} {unicodedata.normalize("NFD", "${größe}")}'
    experiment = run(command=command, space_document=SPACE, algorithm=algorithm, max_trials=3)
    assert {trial.state for trial in experiment.trials.all()} == {"succeeded"}
    assert set(experiment.trials.first().params) == NAMES

    where = ["lab", experiment.public_id]
    table = reverse("experiment-trials", args=where)
    decomposed = unicodedata.normalize("NFD", "filter=größe>0")
    queries = (
        "filter=η>0 größe in (8, 16)",
        decomposed,
        "sort=-p.学习率",
        "columns=p.η",
        "filter=p.学习率<2",
    )
    for query in queries:
        page = as_(alice).get(f"{table}?{quote(query, safe='=&')}")
        assert page.status_code == 200 and len(page.context["rows"]) == 3, query
    nothing = as_(alice).get(f"{table}?{quote('filter=η>1', safe='=')}")
    assert nothing.status_code == 200 and not nothing.context["rows"]
    for name in ("experiment-charts", "experiment", "experiment-edit", "experiment-configuration"):
        assert as_(alice).get(reverse(name, args=where)).status_code in (200, 409)
    lines = (
        b"".join(as_(alice).get(reverse("trials-csv", args=where)).streaming_content).decode().splitlines()
    )
    assert {f"p.{name}" for name in NAMES} <= set(lines[0].split(","))
    script = as_(alice).get(reverse("trial-script", args=[*where, 1])).content.decode()
    assert "学习率" in script
    answer = api(alice).get(f"/experiments/{experiment.public_id}/trials", filter="学习率>=0").json()
    assert len(answer["items"]) == 3 and set(answer["items"][0]["params"]) == NAMES
    (first, *_) = api(alice).get(f"/experiments/{experiment.public_id}/nni/export-data").json()
    parameter = first["parameter"]
    assert set(json.loads(parameter) if isinstance(parameter, str) else parameter) == NAMES


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a b", "U+0020 (space) is not allowed."),
        ("a\u200bb", "U+200B (zero width space) is not allowed."),
        ("\u202eabc", "U+202E (right-to-left override) is not allowed."),
        ("a\tb", "U+0009 (a control character) is not allowed."),
        ("½", "U+00BD (vulgar fraction one half) is not allowed."),
        ("😀", "U+1F600 (grinning face) is not allowed."),
    ],
)
def test_confusing_characters_are_named(name: str, sentence: str) -> None:
    """NNI-S1"""
    with pytest.raises(Invalid) as error:
        make_settings(space_document={name: {"_type": "uniform", "_value": [0, 1]}}, command="true")
    (message, *_) = error.value.errors["space_document"]
    assert sentence in message and not {"\u200b", "\u202e"} & set(message)


def test_other_settings_name_parameters_in_either_form() -> None:
    """NNI-S1: fixed values, starting points and constraints."""
    decomposed = unicodedata.normalize("NFD", "größe")
    settings = make_settings(
        space_document=SPACE,
        command="true",
        fixed={"η": 0.01},
        starting_points=[{decomposed: 8}],
        constraints=[f"{decomposed} * 学习率 <= 16"],
    )
    assert settings.starting_points == [{"größe": 8}] and settings.constraints == ["größe * 学习率 <= 16"]


def test_names_that_look_the_same_are_refused() -> None:
    """NNI-S1"""
    uniform = {"_type": "uniform", "_value": [0, 1]}
    space = {name: uniform for name in ("größe", unicodedata.normalize("NFD", "größe"))}
    with pytest.raises(Invalid, match="Another parameter has the same name"):
        make_settings(space_document=space, command="true")
