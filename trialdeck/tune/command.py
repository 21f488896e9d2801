"""`trialdeck tune train.py --metric accuracy --maximize`: from a script to a running search."""

from __future__ import annotations  # for Python 3.8

import contextlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from trialdeck import caller_environment, discovery, errors
from trialdeck.config import ExperimentConfig
from trialdeck.experiment import Experiment
from trialdeck.field_names import as_option, renamed
from trialdeck.nni.types import RunMode
from trialdeck.script import (
    MetricCall,
    Script,
    ScriptCall,
    ScriptError,
    passing,
    read_script_file,
    script_call,
)
from trialdeck.script.interpreters import Interpreter, candidates, check
from trialdeck.table_output import numbers
from trialdeck.tune.parameters import Parameter, parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

MAX_CONCURRENCY = 4  # if none is chosen
MAX_LISTED = 12


class Missing(errors.Error):
    """A required choice is missing, and there is no terminal to ask for it: a usage error."""


def tune(args: argparse.Namespace) -> int:
    """Read the script, ask for what is missing, start the search, wait, and print the best trial. Return 0 if the
    experiment completed or was stopped, else 1; 2 if something is missing on the command line."""
    try:
        command, call, script = _script(args)
        names = parameters(args.parameters, script, command_sets=call.sets if call else None)
        objectives = _objectives(args)
        metric = _metric(args, next(iter(objectives), ""), script)
        direction = objectives.get(metric.name) or _direction(args, metric.name)
        further = dict(list(objectives.items())[1:])
    except Missing as missing:
        _note(f"trialdeck: {missing}")
        return 2
    if script.missing:
        raise errors.Invalid(
            f"{script.name} would fail, nothing was started: it requires {', '.join(script.missing)}.\nAdd to the end: "
            f"-- {' '.join(name.upper() for name in script.missing)}"
        )
    command = _with_python(args, command, call, script)
    config = _config(args, command, script, names, metric, direction, further)
    _note(_summary(config, names, metric, direction))
    if _is_interactive() and not args.yes and not _confirmed(f"Start {config.max_trial_number} trials?"):
        _note("Nothing was started.")
        return 1
    experiment = _started(args, config)
    print(f"{experiment.id} {experiment.url}", flush=True)
    if args.detach:
        return 0
    return _finished(experiment)


# --- the command ------------------------------------------------------------------------------------------------


def _script(args: argparse.Namespace) -> tuple[str, ScriptCall | None, Script]:
    """Return the command as typed, its call of a script, and what was read from that."""
    quoted_arguments = " ".join(map(shlex.quote, args.arguments))
    # With spaces, a path if there is such a file, else a command: "uv run train.py".
    is_path = len(args.script.split()) == 1 or Path(args.script).is_file()
    is_script = is_path and args.script.endswith((".py", ".pyw"))
    command = f"python {shlex.quote(args.script)}" if is_script else args.script
    command = f"{command} {quoted_arguments}".strip()
    call = script_call(command)
    if call is None:
        if not args.parameters:
            raise Missing(
                f"{args.script} is not a Python script that can be read. Name the parameters with -p."
            )
        return command, None, Script(name=args.script)
    try:
        return command, call, read_script_file(Path(call.script), call.arguments)
    except ScriptError as error:
        raise errors.Invalid(str(error)) from None


def _with_python(args: argparse.Namespace, command: str, call: ScriptCall | None, script: Script) -> str:
    """Return the command with the interpreter that has what the script imports. Raise Invalid if none has."""
    is_elsewhere = bool(args.url or os.environ.get("TRIALDECK_URL")) and not _console_is_here(args)
    if call is None or not call.python or is_elsewhere:
        return command
    env = {**os.environ, **caller_environment.caller_environment()}
    folder = Path(call.script).absolute().parent
    is_typed = args.script.strip() != call.script  # a whole command, with its interpreter
    program = args.python or (call.python if is_typed else "")
    # What `python` means in this shell comes first, also where this command has an environment of its own.
    likely = [*candidates(folder, os.environ), *candidates(folder, env), sys.executable]
    pythons = [program] if program else likely
    checked: list[Interpreter] = []
    for python in dict.fromkeys(pythons):
        absolute = python if "/" not in python else str(Path(python).absolute())
        interpreter = check(absolute, script.imports, folder=folder, env=env)
        if interpreter.is_complete:
            is_usual = python == call.python or interpreter.path == shutil.which(
                "python", path=env.get("PATH")
            )
            return command if is_usual else _replaced(command, call.python, shlex.quote(interpreter.path))
        checked.append(interpreter)
    lines = "\n  ".join(interpreter.fault for interpreter in checked)
    raise errors.Invalid(
        f"{call.script} would fail, nothing was started:\n  {lines}\nInstall what is missing, or choose an interpreter "
        "with --python."
    )


def _replaced(command: str, word: str, by: str) -> str:
    return re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", lambda _: by, command, count=1)


def _console_is_here(args: argparse.Namespace) -> bool:
    return discovery.find(args.url, args.token).is_here


# --- the objective ----------------------------------------------------------------------------------------------


def _objectives(args: argparse.Namespace) -> dict[str, str]:
    """Return the metrics that --metric names, with their directions; "" for a single one without."""
    objectives: dict[str, str] = {}
    for text in args.metrics:
        name, colon, direction = text.rpartition(":")
        if not colon or direction not in ("maximize", "minimize"):
            name, direction = text, ""
        if name in objectives:
            raise Missing(f"--metric {name} occurs twice.")
        objectives[name] = direction
    lacking = [name for name, direction in objectives.items() if not direction]
    if len(objectives) > 1 and (lacking or args.direction):
        name = lacking[0] if lacking else next(iter(objectives))
        likely = MetricCall(name, "", 0).direction
        raise Missing(
            f"Several objectives need a direction each: --metric {name}:{objectives[name] or likely}"
        )
    if len(objectives) == 1 and not lacking and args.direction:
        raise Missing(f"The direction of {next(iter(objectives))} is set twice.")
    return objectives


def _metric(args: argparse.Namespace, name: str, script: Script) -> MetricCall:
    """Return the metric of this name, with the expression that reads it where the script prints it."""
    name = name or _ask_for_metric(script)
    call = _reported(name, script)
    if args.pattern:
        return MetricCall(name, "stdout", 0, pattern=args.pattern)
    if args.result_file:
        return MetricCall(name, "file", 0)
    if call:
        return MetricCall(name, call.source, call.line, pattern=call.pattern)
    reports = any(metric.source == "sdk" for metric in script.metrics)
    if reports:
        return MetricCall(name, "sdk", 0)
    pattern = rf"(?i)\b{re.escape(name)}\b[^\w+-.]*{{number}}"
    _note(f"{script.name} has no recognized print of {name!r}. Reading the output with: {pattern}")
    return MetricCall(name, "stdout", 0, pattern=pattern)


def _ask_for_metric(script: Script) -> str:
    names = [metric.name for metric in script.metrics]
    listed = f" {script.name} reports or prints: {', '.join(names[:MAX_LISTED])}." if names else ""
    if not _is_interactive():
        raise Missing(f"The metric is missing. Add --metric NAME.{listed}")
    if listed:
        _note(listed.strip())
    while not (answer := _ask("Metric to optimize", names[0] if names else "")):
        pass
    return answer


def _reported(name: str, script: Script) -> MetricCall | None:
    """Return the call that reports this metric, by its name or by its last words ("accuracy": "test_accuracy")."""
    plain = _plain(name)
    exact = [metric for metric in script.metrics if _plain(metric.name) == plain]
    similar = [metric for metric in script.metrics if _plain(metric.name).endswith(f"_{plain}")]
    return next(iter([*exact, *similar]), None)


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def _direction(args: argparse.Namespace, metric: str) -> str:
    if args.direction:
        return str(args.direction)
    likely = MetricCall(metric, "", 0).direction
    if not _is_interactive():
        raise Missing(
            f"The direction is missing. Add --maximize or --minimize (for {metric!r} likely --{likely})."
        )
    while True:
        answer = _ask(f"Maximize or minimize {metric}?", likely).lower()
        for direction in ("maximize", "minimize"):
            if len(answer) > 1 and direction.startswith(answer):
                return direction


# --- the experiment ---------------------------------------------------------------------------------------------


def _config(
    args: argparse.Namespace,
    command: str,
    script: Script,
    names: list[Parameter],
    metric: MetricCall,
    direction: str,
    further: dict[str, str],
) -> ExperimentConfig:
    searched = [parameter.argument for parameter in names]
    passed = passing(script, command, searched)
    config = ExperimentConfig("local")
    config.experiment_name = args.name or (Path(script.name).stem if script.arguments else script.name)[:200]
    config.trial_command = passed.command
    config.trial_code_directory = str(Path.cwd())
    config.search_space = {passed.names[parameter.name]: parameter.spec for parameter in names}
    config.passes_arguments = passed.passes_arguments
    config.argument_style = passed.argument_style
    config.boolean_style = passed.boolean_style
    config.list_style = passed.list_style
    config.metric, config.direction, config.source = metric.name, direction, metric.source
    config.further_objectives = further or None
    config.pattern = metric.pattern or None
    config.metric_path = args.result_file
    config.max_trial_number = args.trials
    config.trial_concurrency = args.concurrency or min(MAX_CONCURRENCY, os.cpu_count() or 1)
    config.max_experiment_duration, config.max_trial_duration = args.duration, args.trial_duration
    config.goal, config.seed = args.goal, args.seed
    config.workspace, config.project, config.queue = args.workspace, args.project, args.queue
    config.tuner.name = args.algorithm
    config.settings()  # raises errors before anything is started
    return config


def _started(args: argparse.Namespace, config: ExperimentConfig) -> Experiment:
    experiment = Experiment(config)
    # Standard output has the ID, the address and the best trial only.
    with contextlib.redirect_stdout(sys.stderr), renamed(as_option):
        if args.url or args.token:
            experiment._start_on(discovery.find(args.url or args.port, args.token))
        else:
            experiment.start(args.port, run_mode=RunMode.Detach, slots=args.slots)
    return experiment


def _finished(experiment: Experiment) -> int:
    """Wait, print the best trial, and return the status."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            has_ended_well = experiment.wait(progress=True)
    except KeyboardInterrupt:
        _note(f"\nThe experiment continues: {experiment.url}\nTo stop it: trialdeck stop {experiment.id}")
        raise
    row = experiment._read()
    best, front = row["best"], row.get("front")
    if front and front["size"]:
        print(f"Pareto front: {front['size']} trials, see trialdeck best {experiment.id}")
        for each in front["best"]:
            print(
                f"  best {each['metric']} = {_text(each['value'])} (trial {experiment.id}-{each['number']})"
            )
    elif best is None:
        print("No trial has a result.")
    else:
        trial = experiment._trial(best["number"])
        metric = experiment.config.metric or "value"
        print(f"Best: {metric} = {numbers([best['value']])[0]} (trial {trial['id']})")
        for name, value in trial["params"].items():
            print(f"  {name} = {value if isinstance(value, str) else _text(value)}")
    print(experiment.url, flush=True)
    return 0 if has_ended_well else 1


def _text(value: Any) -> str:
    return numbers([value])[0] if isinstance(value, float) else str(value)


# --- the terminal -----------------------------------------------------------------------------------------------


def _summary(config: ExperimentConfig, names: list[Parameter], metric: MetricCall, direction: str) -> str:
    """Return what is about to start, in lines."""
    width = max(len(parameter.name) for parameter in names)
    lines = [f"Command:   {config.trial_command}"]
    objectives = {metric.name: direction, **(config.further_objectives or {})}
    listed = ", ".join(f"{way} {name}" for name, way in objectives.items())
    lines.append(f"Objective: {listed} ({_source(config, metric)})")
    lines.append(f"Search:    {config.max_trial_number} trials, {config.trial_concurrency} in parallel")
    lines += [f"  {parameter.name.ljust(width)}  {parameter.text}" for parameter in names]
    return "\n".join(lines)


def _source(config: ExperimentConfig, metric: MetricCall) -> str:
    if metric.source == "file":
        return f"from {config.metric_path}"
    return f"from the output: {metric.pattern}" if metric.source == "stdout" else "reported by the script"


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ask(question: str, default: str) -> str:
    """Ask on standard error: standard output may be redirected. Raise Missing at the end of the input."""
    print(f"{question} [{default}]: " if default else f"{question}: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise Missing("The input ended before all questions were answered.")
    return line.strip() or default


def _confirmed(question: str) -> bool:
    return _ask(question, "yes").lower() in ("y", "yes")
