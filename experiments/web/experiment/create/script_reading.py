"""Read arguments: fill the form of a new experiment from its script, which is parsed, never run."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict

from experiments.messages import plural
from experiments.models import Queue, Worker
from experiments.web.experiment.forms import space_rows
from experiments.web.ui.form_fields import PairsField
from trialdeck.script import (
    MetricCall,
    Script,
    ScriptCall,
    ScriptError,
    Suggestion,
    passing,
    read_script,
    read_script_file,
    script_call,
    suggestion,
)

from .python_report import PythonReport, python_report

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SCRIPT = 1 << 20  # bytes that are uploaded or pasted
BUTTON = "read_arguments"


@dataclass(frozen=True)
class ScriptReading:
    """What was read from a script. `problem` is the reason if nothing was read; then `script` is None."""

    script: Script | None = None
    problem: str = ""
    searched: int = 0  # new rows that are searched, and those that are not
    fixed: int = 0
    metrics: tuple[MetricCall, ...] = ()
    notes: tuple[str, ...] = field(default=())
    python: PythonReport | None = None

    @property
    def heading(self) -> str:
        if self.script is None:
            return "No arguments read"
        count = plural(len(self.script.arguments), "argument")
        return f"{count} read from {self.script.name}"

    @property
    def summary(self) -> str:
        if not self.searched and not self.fixed:
            return "No new rows."
        rest = (
            f"; {plural(self.fixed, 'other keeps its default,others keep their defaults')} until checked"
            if self.fixed
            else ""
        )
        return f"{plural(self.searched, 'argument')} added to the search space{rest}."


def read_arguments(
    data: QueryDict, files: Mapping[str, Any], queue: Queue | None
) -> tuple[QueryDict, ScriptReading]:
    """Return the posted form, completed with what was read from its script, and what was read. Existing rows, metric
    and name are not replaced. `queue`: the form's queue, whose workers can access the folder.
    """
    command = data.get("command", "")
    call = script_call(command)
    try:
        script = _script(data, files, call, queue)
    except ScriptError as error:
        return data, ScriptReading(problem=str(error))
    changed = data.copy()
    if not command.strip():
        command = f"python {script.name}"
    rows = [row for row in space_rows.typed(data) if not row.is_blank]
    taken = {_plain(row.name) for row in rows}
    suggestions = [suggestion(argument, script) for argument in script.arguments]
    new = [row for row in suggestions if _plain(row.name) not in taken]
    searched = [row for row in new if row.is_searched and not (call and call.sets(row.name))]
    passed = passing(script, command, [row.argument for row in searched])
    rows += [_row(row, passed.names.get(row.name, row.name), is_on=row in searched) for row in new]
    _write_rows(changed, rows)
    changed["command"] = passed.command
    if script.arguments:
        changed.pop("passes_arguments", None)
        if passed.passes_arguments:
            changed["passes_arguments"] = "on"
        changed["argument_style"] = passed.argument_style
        changed["boolean_style"] = passed.boolean_style
        changed["list_style"] = passed.list_style
    if not data.get("name", "").strip():
        changed["name"] = Path(script.name).stem[:200]
    if not data.get("metric", "").strip() and script.metrics:
        write_metric(changed, script.metrics[0])
    return changed, ScriptReading(
        script,
        searched=len(searched),
        fixed=len(new) - len(searched),
        metrics=script.metrics,
        notes=(*script.notes, *_about_missing(script.missing)),
        python=_python(script, data, queue),
    )


def _about_missing(names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    words = " ".join(name.upper() for name in names)
    return [f"The script requires {', '.join(names)}. Add {words} to the end of the command."]


def start_fault(data: QueryDict, queue: Queue | None) -> str:
    """Return why the trials of this form would fail immediately: an import that the Python on the worker lacks. Empty
    if no such import is known, or if the user chose to start anyway."""
    if data.get("ignore_imports"):
        return ""
    try:
        script = _script(data, {}, script_call(data.get("command", "")), queue)
    except ScriptError:
        return ""
    report = _python(script, data, queue)
    return report.fault if report else ""


def _python(script: Script, data: QueryDict, queue: Queue | None) -> PythonReport | None:
    call, directory = script_call(data.get("command", "")), data.get("directory", "").strip()
    has_own = (
        data.get("packages_from") not in (None, "", "worker") or data.get("repository") or data.get("image")
    )
    if call is None or queue is None or not directory or has_own:
        return None
    try:
        environment = PairsField(required=False).clean(data.get("environment", ""))
    except ValidationError:
        environment = {}  # the form reports its error
    return python_report(script, call, queue=queue, directory=directory, environment=environment)


def write_metric(data: QueryDict, metric: MetricCall) -> None:
    """Set the form's objective to a metric that the script reports."""
    data["metric"], data["direction"], data["source"] = metric.name, metric.direction, metric.source
    if metric.source == "stdout":
        data["pattern"] = metric.pattern


def write_chosen_metric(data: QueryDict, text: str) -> None:
    """Set the form's objective to the metric in a button's value, `source|name|expression`. Without a name, the typed
    name is kept."""
    source, _, rest = text.partition("|")
    name, _, pattern = rest.partition("|")
    if source not in ("sdk", "stdout"):
        return
    if name:
        write_metric(data, MetricCall(name, source, 0, pattern=pattern))
    else:
        data["source"], data["pattern"] = source, pattern


def _script(
    data: QueryDict, files: Mapping[str, Any], call: ScriptCall | None, queue: Queue | None
) -> Script:
    """Return the script that was uploaded or pasted, or that the command runs in its folder. Raise ScriptError."""
    command_arguments = call.arguments if call else ()
    name = Path(call.script).name if call else "script"
    if upload := files.get("script_file"):
        if upload.size is not None and upload.size > MAX_SCRIPT:
            raise ScriptError(f"{upload.name} is larger than 1 MiB.")
        return read_script(
            upload.read(MAX_SCRIPT), Path(upload.name or name).name, command_arguments=command_arguments
        )
    if pasted := data.get("script_text", "").strip():
        return read_script(pasted[:MAX_SCRIPT], name, command_arguments=command_arguments)
    if call is None:
        raise ScriptError(
            "The command does not run a Python script. Enter a command such as python train.py, or "
            "paste the script below."
        )
    return read_script_file(_path(call, data, queue), command_arguments, excluded=Path(settings.DATA))


def _path(call: ScriptCall, data: QueryDict, queue: Queue | None) -> Path:
    """Return the path of the script on this machine: only if a worker of the queue can access the same folder, and
    never in Trialdeck's own data. Raise ScriptError."""
    if data.get("repository", "").strip():
        raise ScriptError("The code comes from a repository. Paste or upload the script below.")
    directory = data.get("directory", "").strip()
    path = Path(call.script)
    if not path.is_absolute():
        if not directory.startswith(("/", "~")):
            raise ScriptError("Enter the working directory: an absolute path that contains the script.")
        path = Path(directory) / path
    if queue is not None and not _is_on_this_machine(queue):
        raise ScriptError(
            f"No worker of the queue {queue} runs on the console's machine. Paste or upload the script below."
        )
    try:
        path = path.expanduser()
        real, data_folder = path.resolve(), Path(settings.DATA).resolve()
    except (OSError, RuntimeError, ValueError):
        raise ScriptError(f"{path} cannot be read.") from None
    if real.is_relative_to(data_folder):
        raise ScriptError(f"{path} is in Trialdeck's data folder.")
    return path


def _is_on_this_machine(queue: Queue) -> bool:
    """Return whether a worker of this queue runs on this machine and so can access the same folders."""
    workers = Worker.objects.present().filter(host=socket.gethostname())
    return any(queue.name in worker.queues for worker in workers)


def _plain(name: str) -> str:
    return name.strip().replace("-", "_").lower()


def _row(row: Suggestion, name: str, *, is_on: bool) -> space_rows.Row:
    default = row.argument.default
    text = "" if default is None else space_rows.text_of([default])
    return space_rows.Row(
        name, row.type, space_rows.text_of(row.values), default=text[:40], tick="1", on="1" if is_on else ""
    )


def _write_rows(data: QueryDict, rows: Iterable[space_rows.Row]) -> None:
    """Replace the rows in the form's data."""
    for key in [key for key in data if key.startswith("space-")]:
        del data[key]
    for place, row in enumerate(rows):
        for part in ("name", "type", "values", "default", "tick", "on"):
            if value := getattr(row, part):
                data[f"space-{place}-{part}"] = value
