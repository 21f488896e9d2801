"""Hyperparameters and objects as a trial gets them."""

import json

from experiments.runner.configuration import arguments, text, values, variables

GROUPS = {
    "Args": {
        "lr": {"value": "0.1"},
        "--epochs": {"value": "60"},
        "amp": {"value": ""},
        "batch": {"value": "64"},
    },
    "General": {"lr": {"value": "1"}, "data/root": {"value": "/data"}},
    "Environment": {
        "OMP_NUM_THREADS": {"value": "8"},
        "a=b": {"value": "x"},
        "TRIALDECK_METRICS": {"value": "x"},
        "1st": {"value": "x"},
    },
}
PARAMS = {"lr": 0.5, "Args/batch": 128, "Environment/OMP_NUM_THREADS": 4, "layer/size": 3}


def test_the_search_gives_hyperparameters_their_values_by_name_or_by_group():
    """CML-H1: what is searched overrides what was typed; the rest stays text."""
    groups = values(GROUPS, PARAMS)
    assert groups["Args"] == {"lr": 0.5, "--epochs": "60", "amp": "", "batch": 128}
    assert groups["General"] == {"lr": 0.5, "data/root": "/data"}
    assert groups["Environment"]["OMP_NUM_THREADS"] == 4
    assert "layer" not in groups


def test_the_group_environment_becomes_variables():
    """CML-H1 (H10): but for names that cannot be one, or that are Trialdeck's own."""
    assert variables(GROUPS, {}) == {"OMP_NUM_THREADS": "8"}
    assert variables(GROUPS, PARAMS) == {"OMP_NUM_THREADS": "4"}


def test_the_group_args_becomes_arguments_before_those_of_the_search():
    """CML-H1 (H9): a searched name stands once; an empty text is a flag; other groups' parameters are none."""
    assert arguments(GROUPS, PARAMS) == (
        ["--epochs", "60", "--amp", "--lr", "0.5", "--batch", "128", "--layer/size", "3"]
    )
    assert arguments({}, {"lr": 0.1, "Args/x": True}) == ["--lr", "0.1", "--x", "true"]


def test_the_file_has_the_groups_and_the_objects():
    body = json.loads(text(GROUPS, {"model.yaml": "ü: 1\n"}, {}))
    assert body["objects"] == {"model.yaml": "ü: 1\n"} and body["hyperparameters"]["Args"]["amp"] == ""
