"""An experiment in a notebook: what it shows of itself, charts, the progress bar."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.processes import ROOT
from trialdeck import Experiment, errors
from trialdeck.notebook import charts as notebook_charts
from trialdeck.notebook import views as notebook
from trialdeck.progress import Progress

SETTINGS = {
    "metric": "a<b",
    "direction": "maximize",
    "space_document": {
        "lr": {"_type": "loguniform", "_value": [1e-4, 1]},
        "opt": {"_type": "choice", "_value": ["<adam>", True]},
    },
}


def trial(number: int, value: float | None, state: str = "succeeded", **params: object) -> dict:
    return {"number": number, "value": value, "state": state, "params": params}


def test_an_experiment_shows_itself(deck):
    """Its state, its best and a link; the drawing where only drawings are shown."""
    bundle = deck.first._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    card = bundle["text/html"]
    assert (
        f'href="{deck.first.url}"' in card
        and "completed (max trials reached)" in card
        and "2/2 trials" in card
    )
    assert "best loss <b>0.5</b>" in card and "<svg" in card
    assert ElementTree.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")
    assert set(deck.first._repr_mimebundle_(include=["text/html"])) == {"text/html"}
    assert deck.first._repr_html_() == card


def test_charts_are_svg_files(deck, tmp_path):
    for kind in ("history", "parallel"):
        svg = deck.first.plot(kind)
        svg.save(tmp_path / f"{kind}.svg")
        assert ElementTree.parse(tmp_path / f"{kind}.svg").getroot().tag.endswith("svg")
        assert svg._repr_svg_() == svg
    with pytest.raises(errors.Invalid, match='There is no chart \'pie\'. Choose "history" or "parallel".'):
        deck.first.plot("pie")


def test_watch_waits_with_a_bar(deck, capfd):
    """tqdm's where it is installed."""
    assert deck.first.watch() is True
    assert "completed" in capfd.readouterr().err


def test_without_tqdm_and_rich_a_line_is_shown(monkeypatch):
    for name in ("tqdm.auto", "tqdm", "rich.progress", "rich"):
        monkeypatch.setitem(sys.modules, name, None)
    assert type(notebook._bar()) is Progress


def test_an_experiment_without_a_console_shows_itself_too():
    card = Experiment("local")._repr_html_()
    assert "not started" in card
    assert "image/svg+xml" not in Experiment("local")._repr_mimebundle_()


def test_what_the_console_answers_is_shown_instead_of_a_traceback(deck, monkeypatch):
    def lost(*_: object, **__: object) -> None:
        raise errors.Unreachable("No console is running at <here>.")

    monkeypatch.setattr(Experiment, "_read", lost)
    assert "No console is running at &lt;here&gt;." in deck.first._repr_html_()
    assert set(deck.first._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_parallel_plot_has_a_line_per_trial_and_an_axis_per_parameter():
    trials = [
        trial(1, 0.5, lr=1e-4, opt="<adam>"),
        trial(2, 0.75, lr=1.0, opt=True),
        trial(3, None, "failed", lr=0.1, opt=True),
        trial(4, float("inf"), lr=0.1, opt=True),
    ]
    svg = notebook_charts.parallel(trials, SETTINGS)
    ElementTree.fromstring(svg)
    assert svg.count("<polyline") == 2 and svg.count("<line ") == 3
    assert "a&lt;b" in svg and "&lt;adam&gt;" in svg
    assert svg.rindex('stroke-width="2.5"') > svg.rindex('stroke-width="1"'), "the best is on top"


def test_the_line_of_a_history_is_the_best_so_far():
    values = [0.5, 0.25, 0.75]
    trials = [trial(number, value) for number, value in enumerate(values, start=1)]
    assert notebook_charts._best_steps([(t["number"], t["value"]) for t in trials], "maximize") == [
        (1, 0.5),
        (3, 0.75),
    ]
    assert notebook_charts._best_steps([(t["number"], t["value"]) for t in trials], "minimize") == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert notebook_charts.history(trials, SETTINGS).count("<circle") == 3


@pytest.mark.parametrize("kind", notebook_charts.CHARTS)
@pytest.mark.parametrize(
    "trials", [[], [trial(1, 0.5, lr=0.1, opt="x")], [trial(1, 1e308, lr=1), trial(2, -1e308, lr=2)]]
)
def test_few_and_extreme_values_are_drawn(kind, trials):
    ElementTree.fromstring(notebook_charts.CHARTS[kind](trials, SETTINGS))


CELLS = (
    "from trialdeck import Experiment\nexperiment = Experiment.connect({port}, {id!r})\nexperiment",
    "experiment.watch()",
    "experiment.plot('parallel')",
    "experiment.plot()",
    "table = experiment.dataframe()\n(table.index.name or table.shape[0], float(table['value'].min()))",
)


def test_a_notebook_is_executed(deck, monkeypatch):
    """The cells of a real notebook, run by Jupyter's own client: what a person sees below each."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [nbformat.v4.new_code_cell(cell.format(port=deck.port, id=deck.first.id)) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    card, watched, plot, history, table = ([output for output in cell.outputs] for cell in notebook.cells)
    assert "best loss <b>0.5</b>" in card[-1].data["text/html"] and "image/svg+xml" in card[-1].data
    assert watched[-1].data["text/plain"] == "True"
    for drawing in (plot, history):
        assert drawing[-1].data["image/svg+xml"].startswith("<svg")
    assert table[-1].data["text/plain"].endswith(", 0.5)")
