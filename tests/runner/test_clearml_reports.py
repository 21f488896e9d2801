"""Plots, tables and properties of ClearML scripts, as output files."""

from __future__ import annotations

import json

import pytest

from experiments.runner.dialects.clearml_reports import PlotFiles, sample_parts, summary_of, table_rows

LINE = {"type": "scatter", "x": [0, 1], "y": [1, 2]}
TABLE = {"type": "table", "header": {"values": ["a", ["b", "c"]]}, "cells": {"values": [[1, 3], [2.5]]}}


def plot_event(title: object, series: object, *data: object, step: object = 1) -> dict:
    figure = {"data": list(data), "layout": {"title": "t"}}
    return {"type": "plot", "metric": title, "variant": series, "iter": step, "plot_str": json.dumps(figure)}


def files_of(*events: object) -> dict[str, bytes]:
    lines = "\n".join(json.dumps([event]) for event in events)
    return {"/".join(parts): content for parts, content in PlotFiles().of(lines)}


def test_plots_are_plotly_json_and_tables_are_csv():
    """TD-C7 CML-T1: by title, series and iteration."""
    files = files_of(
        plot_event("roc", "train", LINE, step=12),
        plot_event("tab", "t", TABLE),
        {"type": "training_stats_scalar"},
    )
    assert list(files) == ["plots/roc/train/00000012.json", "tables/tab/t/00000001.csv"]
    assert json.loads(files["plots/roc/train/00000012.json"]) == {
        "title": "roc",
        "series": "train",
        "iteration": 12,
        "data": [LINE],
        "layout": {"title": "t"},
    }
    assert files["tables/tab/t/00000001.csv"] == b"a,b c\r\n1,2.5\r\n3,\r\n"


def test_names_are_safe_and_stay_apart():
    """TD-C7: a title is a text, not a path."""
    names = list(
        files_of(
            *(plot_event(title, "s", LINE) for title in ("../../etc", "a/b", "a_b", "", "x" * 500, "a\0\n"))
        )
    )
    assert len(set(names)) == 6
    for name in names:
        parts = name.split("/")
        assert len(parts) == 4 and all(
            part and not part.startswith(".") and part.isprintable() for part in parts
        )
        assert max(map(len, parts)) <= 65


@pytest.mark.parametrize(
    "event",
    [
        {"type": "plot"},
        {"type": "plot", "plot_str": "{"},
        {"type": "plot", "plot_str": "[1]"},
        {"type": "plot", "plot_str": '{"data": 7}'},
        {"type": "plot", "plot_str": 7},
        7,
    ],
)
def test_what_is_no_plot_is_left_out(event):
    """CML-T1: the others are kept."""
    assert list(files_of(event, plot_event("a", "b", LINE, step=None))) == ["plots/a/b/00000000.json"]
    assert list(PlotFiles().of("junk\n" + "[" * 5000 + '"plot_str"')) == []


def test_properties_and_models_are_summarized():
    """TD-C7: with what describes a model: its file, framework, tags, labels and network. One that was
    registered by its address has no file."""
    task = {
        "hyperparams": {"properties": {"seed": {"value": "7"}, "bad": 3}},
        "offline_output_models": [
            {
                "init": {
                    "name": "net", "framework": "PyTorch", "tags": ["x"], "config_text": "depth = 3",
                    "label_enumeration": {"cat": 1, "odd": "x"},
                },
                "weights": {"weights_filename": "/tmp/x/models/net.pt"},
            },
            {"init": {"name": "old"}, "weights": {"register_uri": "s3://models/net.pt"}},
            {"init": None, "weights": 3},
            7,
        ],
    }  # fmt: skip
    summary = {
        "properties": {"seed": "7"},
        "models": [
            {
                "file": "models/net.pt",
                "name": "net",
                "framework": "PyTorch",
                "tags": ["x"],
                "labels": {"cat": 1},
                "network": "depth = 3",
            },
            {"address": "s3://models/net.pt", "name": "old"},
        ],
    }
    assert summary_of(task) == summary
    assert summary_of({"hyperparams": {}, "offline_output_models": []}) == {}


def test_debug_samples_have_their_title_and_series():
    """TD-C7: below the package's folder data."""
    assert sample_parts(("p", "t.1", "metrics", "img", "s", "img_s_0.png")) == (
        "debug_samples",
        "img",
        "s",
        "img_s_0.png",
    )
    for parts in (("p", "t.1", "artifacts", "metrics", "a"), ("metrics", "a", "b"), ("a",)):
        assert sample_parts(parts) is None
    assert table_rows({"type": "table"}) is None and table_rows(LINE) is None
