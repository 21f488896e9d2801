"""An experiment in a notebook: a card with its state, charts as SVG, a progress bar."""

from __future__ import annotations  # for Python 3.8

import html
import importlib
from pathlib import Path

from trialdeck import errors
from trialdeck.notebook import charts as notebook_charts
from trialdeck.progress import ENDED_TRIALS, Progress, duration
from trialdeck.table_output import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.console import Console

MAX_TRIALS = 1000  # of a drawing: the latest
STYLE = "font-family:system-ui,sans-serif;border:1px solid #8884;border-radius:6px;padding:.6em .9em;max-width:34em"


class Svg(str):
    """A drawing as SVG text, which a notebook shows."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file."""
        Path(path).write_text(str(self), encoding="utf-8")


class NotebookViews:
    """The notebook methods of `Experiment`: its card, a progress bar, charts, a data frame."""

    id: str
    _console: Console | None

    def dataframe(self) -> Any:
        """Return all trials as a pandas DataFrame; see `to_dataframe`."""
        return self.to_dataframe()  # type: ignore[attr-defined]

    def watch(self, timeout_s: float | None = None) -> bool:
        """Wait for the end with a progress bar: tqdm's or rich's if one of them is installed, else a line. Return and
        raise as `wait`."""
        return self.wait(progress=_bar(), timeout_s=timeout_s)  # type: ignore[attr-defined]

    def plot(self, kind: str = "history") -> Svg:
        """Return a chart of the latest 1,000 trials: "history" (values by trial, and the best so far) or "parallel" (a
        line per trial through its parameters to its value). Raise Invalid for other names."""
        draw = notebook_charts.CHARTS.get(kind)
        if draw is None:
            names = " or ".join(f'"{name}"' for name in notebook_charts.CHARTS)
            raise errors.Invalid(f"There is no chart {kind!r}. Choose {names}.")
        return Svg(draw(self._drawn_trials(), self._read()["settings"]))  # type: ignore[attr-defined]

    def _drawn_trials(self) -> list[dict[str, Any]]:
        path = f"experiments/{self.id}/trials"
        page = self._connected().get(path, sort="-number", limit=MAX_TRIALS)  # type: ignore[attr-defined]
        return list(reversed(page["items"]))

    def _repr_html_(self) -> str:
        if self._console is None:
            return f'<div style="{STYLE}"><b>Experiment</b> <code>{self.id}</code> · not started</div>'
        try:
            return self._card()
        except errors.Error as error:  # displaying the object must never fail
            text = html.escape(str(error))
            return f'<div style="{STYLE}"><b>Experiment</b> <code>{self.id}</code> · {text}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The card, and the history as SVG where only drawings are shown."""
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self._console is not None:
            try:
                bundle["image/svg+xml"] = str(self.plot("history"))
            except errors.Error:
                pass  # the card shows the error
        mime_types = set(include or bundle) - set(exclude or ())
        return {kind: content for kind, content in bundle.items() if kind in mime_types}

    def _card(self) -> str:
        row = self._read()  # type: ignore[attr-defined]
        settings, best, counts = row["settings"], row["best"], row["counts"]
        trials = self._drawn_trials()
        ended = sum(counts.get(state, 0) for state in ENDED_TRIALS)
        of = f"/{settings['max_trials']}" if settings["max_trials"] else ""
        facts = [f"{ended}{of} trials", duration(row["elapsed_s"] or 0)]
        if counts.get("failed"):
            facts.insert(1, f"{counts['failed']} failed")
        why = f" ({html.escape(row['reason'])})" if row["reason"] else ""
        lines = [
            f'<a href="{html.escape(row["url"])}" target="_blank" rel="noopener"><b>{html.escape(row["name"])}</b></a> '
            f"<code>{self.id}</code>",
            f"{html.escape(row['state'])}{why} · {' · '.join(facts)}",
        ]
        if best:
            value = numbers([best["value"]])[0]
            lines.append(f"best {html.escape(settings['metric'])} <b>{value}</b> (trial {best['number']})")
        if row.get("front"):
            size = row["front"]["size"]
            lines.append(f"<b>{size}</b> trial{'' if size == 1 else 's'} on the Pareto front")
        spark = notebook_charts.sparkline(trials, settings["direction"])
        return f'<div style="{STYLE}">{"<br>".join(lines)}<br>{spark}</div>'


def _bar() -> Progress:
    """Return the best progress bar that is installed."""
    for name, kind in (("tqdm.auto", TqdmProgress), ("rich.progress", RichProgress)):
        try:
            return kind(importlib.import_module(name))
        except ImportError:
            continue
    return Progress()


class TqdmProgress(Progress):
    """A bar of tqdm, also as a widget in a notebook."""

    def __init__(self, tqdm: Any) -> None:
        super().__init__()
        self.bar = tqdm.tqdm(unit="trial")

    def show(self, experiment: dict) -> None:
        self.bar.total = experiment["settings"]["max_trials"]
        self.bar.n = sum(experiment["counts"].get(state, 0) for state in ENDED_TRIALS)
        best = experiment["best"]
        self.bar.set_description(experiment["state"], refresh=False)
        self.bar.set_postfix({"best": numbers([best["value"]])[0]} if best else {}, refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


class RichProgress(Progress):
    """A bar of rich."""

    def __init__(self, rich: Any) -> None:
        super().__init__()
        self.bar = rich.Progress()
        self.task = self.bar.add_task("", total=None)
        self.bar.start()

    def show(self, experiment: dict) -> None:
        best = experiment["best"]
        text = experiment["state"] + (f", best {numbers([best['value']])[0]}" if best else "")
        ended = sum(experiment["counts"].get(state, 0) for state in ENDED_TRIALS)
        self.bar.update(
            self.task, description=text, completed=ended, total=experiment["settings"]["max_trials"]
        )

    def close(self) -> None:
        self.bar.stop()
