"""Plots that scripts reported in plotly's format."""

from __future__ import annotations

import base64
import re
import struct
import xml.etree.ElementTree as ElementTree

import pytest

from experiments.charts.plot_data import matrix_of, number_of, values_of
from experiments.charts.reported_plot import plot


def drawn(*traces: object, **layout: object):
    return plot({"data": list(traces), "layout": layout}, key="k", title="Title")


LINE = {"type": "scatter", "name": "sin", "x": [0, 1, 2], "y": [1, None, 3]}
BAR = {"type": "bar", "name": "b", "x": ["cat", "dog"], "y": [1, -2.5]}
HEAT = {"type": "heatmap", "x": ["a", "b"], "y": ["u", "v"], "z": [[1, 2], [3, None]]}


@pytest.mark.parametrize(
    ("traces", "rows", "marks"),
    [
        ([LINE], [("sin", "0", 1.0), ("sin", "1", None), ("sin", "2", 3.0)], "cat-line-1"),
        ([{**LINE, "mode": "markers"}], [("sin", "0", 1.0), ("sin", "1", None), ("sin", "2", 3.0)], "circle"),
        ([{"y": [5]}], [("series 1", "0", 5.0)], "circle"),
        ([BAR], [("b", "cat", 1.0), ("b", "dog", -2.5)], "cat-1"),
        (
            [BAR, {**BAR, "name": "c"}],
            [("b", "cat", 1.0), ("b", "dog", -2.5), ("c", "cat", 1.0), ("c", "dog", -2.5)],
            "cat-2",
        ),
        ([HEAT], [("u", "a", 1.0), ("u", "b", 2.0), ("v", "a", 3.0), ("v", "b", None)], "seq-5"),
    ],
)
def test_lines_points_bars_and_heat_maps_are_drawn(traces, rows, marks):
    """TD-C7: for wide and narrow panels, with their data and in words."""
    chart = drawn(*traces, xaxis={"title": {"text": "time"}}, yaxis={"title": "size"})
    assert list(chart.rows) == rows
    assert marks in chart.svg and "time" in chart.svg and "size" in chart.svg
    assert "is-wide" in chart.svg and "is-narrow" in chart.svg
    ElementTree.fromstring(f"<x>{chart.svg}</x>")
    assert "nan" not in chart.svg and "inf" not in chart.svg
    assert chart.description


def test_a_histogram_counts_its_values():
    """TD-C7: in twenty bins."""
    chart = drawn({"type": "histogram", "x": [0.0] * 5 + [1.0] * 3 + ["no number"]})
    assert [row[2] for row in chart.rows if row[2]] == [5.0, 3.0]
    assert len(chart.rows) == 20
    assert drawn({"type": "histogram", "x": []}) is None


@pytest.mark.parametrize(
    "figure",
    [
        {},
        {"data": None},
        {"data": [7, None]},
        {"data": [{"type": "surface", "z": [[1]]}]},
        {"data": [{"type": "scatter3d", "x": [1], "y": [1], "z": [1]}]},
        {"data": [LINE, {"type": "pie", "values": [1]}]},
        {"data": [HEAT, LINE]},
        {"data": [{"type": "heatmap", "z": [[1, 2], [3]]}]},
        {"data": [{"type": "heatmap", "z": "junk"}]},
        {"data": [{"type": "bar", "orientation": "h", "x": [1], "y": ["a"]}]},
        {"data": [{"type": "scatter", "y": ["a", None, float("nan")]}]},
    ],
)
def test_what_cannot_be_drawn_is_none(figure):
    """TD-C7: the page offers the file instead."""
    assert plot(figure, key="k", title="Title") is None


def test_hostile_figures_are_bounded_and_escaped():
    """TD-C7: a script may report anything."""
    many = {
        "type": "scatter",
        "name": "<script>",
        "x": list(range(50_000)),
        "y": [n % 7 for n in range(50_000)],
    }
    chart = drawn(many, xaxis={"title": "<b>"})
    assert len(chart.svg) < 60_000 and "<script>" not in chart.svg and "<b>" not in chart.svg
    wide = drawn({"type": "heatmap", "z": [[n] * 300 for n in range(300)]})
    assert len(re.findall("M", wide.svg)) <= 2 * 40 * 40
    bars = drawn({"type": "bar", "x": [f"name {n}" for n in range(5000)], "y": [1] * 5000})
    assert len(bars.svg) < 60_000
    assert drawn({"type": "scatter", "y": [1e308, -1e308]}) and drawn({"type": "bar", "y": [0, 0]})
    assert drawn({"type": "heatmap", "z": [[1e308, -1e308]]}) and drawn(
        {"type": "scatter", "x": [1, 1], "y": [2, 2]}
    )


def test_arrays_of_newer_versions_are_read():
    """TD-C7: plotly 6 writes numbers in base64."""

    def packed(code, dtype, *numbers, **more):
        data = struct.pack(f"<{len(numbers)}{code}", *numbers)
        return {"dtype": dtype, "bdata": base64.b64encode(data).decode(), **more}

    assert values_of(packed("d", "f8", 1.5, -2.0)) == [1.5, -2.0]
    assert values_of(packed("h", "i2", 1, 2, 3, 4, shape="2, 2")) == [[1, 2], [3, 4]]
    assert matrix_of(packed("B", "u1", 1, 2, shape="1, 2")) == [[1.0, 2.0]]
    for junk in (
        {"dtype": "f8", "bdata": "???"},
        {"dtype": "x", "bdata": ""},
        {"dtype": "f8"},
        "text",
        None,
        7,
    ):
        assert values_of(junk) == []
    assert [number_of(value) for value in ("1e3", True, None, float("inf"), "x", 10**400)] == [
        1000.0,
        *[None] * 5,
    ]
