"""The commands of the command line. Tables go to standard output; errors are exceptions."""

from __future__ import annotations  # for Python 3.8

import contextlib
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

from trialdeck import discovery, embedded, errors, lookup, resuming, server
from trialdeck.config import ExperimentConfig, seconds
from trialdeck.config_files import read_document
from trialdeck.console import Console
from trialdeck.experiment import Experiment
from trialdeck.field_names import as_option, renamed
from trialdeck.imports import Import
from trialdeck.nni.bridge import run as run_bridge
from trialdeck.nni.types import RunMode
from trialdeck.progress import duration
from trialdeck.table_output import numbers, print_table, write_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

UPDATES = ("concurrency", "duration", "trialnum", "searchspace")
MAX_LISTED = 50
MAX_NAME_LENGTH = 60  # in a table


def create(args: argparse.Namespace) -> int | None:
    config = ExperimentConfig.load(args.file)
    for name in ("workspace", "project", "queue"):
        if (value := getattr(args, name)) is not None:
            setattr(config, name, value)
    experiment = Experiment(config)
    # Notes; standard output has the ID and the address only.
    with contextlib.redirect_stdout(sys.stderr), renamed(as_option):
        if args.url or args.token:
            experiment._start_on(discovery.find(args.url or args.port, args.token))
        else:
            experiment.start(args.port, run_mode=RunMode.Detach, slots=args.slots)
    print(f"{experiment.id} {experiment.url}", flush=True)
    return _ended(experiment) if args.wait else None


def stop(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.stop()
    _print_state(experiment)


def pause(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.pause()
    _print_state(experiment)


def unpause(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.unpause()
    _print_state(experiment)


def wait(args: argparse.Namespace) -> int:
    return _ended(_experiment(args))


def resume(args: argparse.Namespace) -> int | None:
    experiment = _experiment(args)
    budget = {"max_trials": args.trialnum, "max_duration_s": seconds(args.duration, "--duration")}
    budget["goal"] = args.goal
    options = {"max_trials": "--trialnum", "max_duration_s": "--duration", "goal": "--goal"}
    names_the_way = resuming.refusals_name_the_way(experiment._read, resuming.how_to_on_command_line)
    with renamed(lambda setting: options.get(setting, setting)), names_the_way:
        experiment._run_action(
            "resume",
            rerun_failed=args.rerun_failed,
            **{name: value for name, value in budget.items() if value is not None},
        )
    _print_state(experiment)
    return _ended(experiment) if args.wait else None


def clone(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    request_body = {"start": args.start, **({"name": args.name} if args.name else {})}
    copy = experiment._connected().post(f"{experiment._path}/clone", request_body)
    print(f"{copy['id']} {copy['url']}")


def ls(args: argparse.Namespace) -> None:
    console = _console(args)
    query = {"q": args.text, "status": args.state, "filter": args.filter, "sort": "-created"}
    all_rows = (
        {"workspace": workspace, **row}
        for workspace in lookup.workspaces(console)
        for row in console.items(f"workspaces/{workspace}/experiments", **query)
    )
    rows = list(all_rows if args.all else itertools.islice(all_rows, MAX_LISTED))
    rows.sort(key=lambda row: row["created_at"], reverse=True)
    if args.json:
        _json(rows)
        return
    bests = [
        f"{row['front']['size']} on front" if row.get("front") else best
        for row, best in zip(rows, numbers([row["best"] and row["best"]["value"] for row in rows]))  # noqa: B905
    ]
    table = [
        (
            row["id"],
            row["name"] if len(row["name"]) <= MAX_NAME_LENGTH else row["name"][: MAX_NAME_LENGTH - 1] + "…",
            row["state"],
            str(sum(row["counts"].values())),
            best,
            duration(row["elapsed_s"] or 0),
            f"{row['workspace']}/{row['project']}",
        )
        for row, best in zip(rows, bests)  # noqa: B905
    ]
    print_table(("ID", "NAME", "STATE", "TRIALS", "BEST", "TIME", "PROJECT"), table)


def show(args: argparse.Namespace) -> None:
    experiment = _experiment(args)._read()
    if args.json:
        _json(experiment)
        return
    settings = experiment["settings"]
    counts = ", ".join(f"{number} {state}" for state, number in experiment["counts"].items() if number)
    failed, total = experiment["counts"]["failed"], sum(experiment["counts"].values())
    failures = f", {failed} of {total} trials failed" if failed and experiment["state"] == "completed" else ""
    lines = {
        "ID": experiment["id"],
        "Name": experiment["name"],
        "State": experiment["state"]
        + (f" ({experiment['reason']})" if experiment["reason"] else "")
        + failures,
        "Project": f"{experiment['workspace']}/{experiment['project']}",
        "Queue": experiment["queue"] or "–",
        "Objective": _objective(settings),
        "Best": _best(experiment),
        "Trials": counts or "none",
        "Budget": f"{settings['max_trials'] or 'unlimited'} trials, concurrency {settings['concurrency']}",
        "Time": duration(experiment["elapsed_s"] or 0),
        "Algorithm": settings["algorithm"],
        "Command": settings["command"].replace("\n", "\n" + " " * 11),
        "URL": experiment["url"],
    }
    for name, text in lines.items():
        print(f"{name + ':':10} {text}")


def _objective(settings: dict[str, Any]) -> str:
    """Return `maximize accuracy, minimize latency_ms`."""
    objectives = {settings["metric"]: settings["direction"], **settings.get("further_objectives", {})}
    return ", ".join(f"{direction} {metric}" for metric, direction in objectives.items())


def _best(experiment: dict[str, Any]) -> str:
    """Return the best value and its trial; with several objectives the size of the front and the best of each."""
    best, front = experiment["best"], experiment.get("front")
    if front and front["size"]:
        bests = ", ".join(f"{each['metric']} {_number(each['value'])}" for each in front["best"])
        return f"{front['size']} on the Pareto front (best of each: {bests})"
    return f"{_number(best['value'])} (trial {experiment['id']}-{best['number']})" if best else "–"


def trials(args: argparse.Namespace) -> None:
    rows = list(_experiment(args)._trials(state=args.state, filter=args.filter))
    if args.json:
        _json(rows)
        return
    table = [
        (
            row["id"],
            row["state"],
            value + (" (partial)" if row.get("is_partial") else ""),
            "" if row["duration_s"] is None else f"{row['duration_s']:.1f} s",
            row["failure"] or "",
            json.dumps(row["params"], ensure_ascii=False),
        )
        for row, value in zip(rows, numbers([row["value"] for row in rows]))  # noqa: B905
    ]
    print_table(("TRIAL", "STATE", "VALUE", "TIME", "FAILURE", "PARAMETERS"), table)


def best(args: argparse.Namespace) -> int | None:
    experiment = _experiment(args)
    if experiment._read().get("front") is not None:
        return _print_front(experiment, as_json=args.json)
    best_trial = experiment.best()
    if best_trial is None:
        print("No trial has succeeded yet.", file=sys.stderr)
        return 1
    if args.json:
        _json({"id": best_trial.trialJobId, "value": best_trial.value, "params": best_trial.parameter})
        return None
    print(f"{best_trial.trialJobId} {_number(best_trial.value)}")
    for name, value in best_trial.parameter.items():
        print(f"  {name} = {json.dumps(value, ensure_ascii=False)}")
    return None


def _print_front(experiment: Experiment, *, as_json: bool) -> int | None:
    """Print the trials on the Pareto front, the best of the first objective first."""
    front = experiment.pareto()
    if not front:
        print("No trial has succeeded yet.", file=sys.stderr)
        return 1
    if as_json:
        _json([{"id": each.trialJobId, "values": each.value, "params": each.parameter} for each in front])
        return None
    metrics = list(front[0].value)
    columns = [numbers([each.value[metric] for each in front]) for metric in metrics]
    texts = [json.dumps(each.parameter, ensure_ascii=False) for each in front]
    rows = list(zip((each.trialJobId for each in front), *columns, texts))  # noqa: B905
    print_table(("TRIAL", *metrics, "PARAMETERS"), rows)
    return None


def logs(args: argparse.Namespace) -> None:
    experiment = _experiment_of_trial(args)
    for piece in experiment._pieces(args.trial, is_followed=args.follow):
        sys.stdout.write(piece)
        sys.stdout.flush()


def kill(args: argparse.Namespace) -> None:
    experiment = _experiment_of_trial(args)
    experiment.kill_trial_job(args.trial)
    print(f"{args.trial} {experiment.get_trial_job(args.trial).status}")


def rerun(args: argparse.Namespace) -> None:
    trial = _experiment_of_trial(args).rerun(args.trial)
    print(f"{trial.trialJobId} {trial.status}")


def export(args: argparse.Namespace) -> None:
    if not (args.csv or args.json):
        if not args.output:
            args.usage_error("name the file, -o FILE, or a table, --csv or --json")
        experiment = _experiment(args)
        print(experiment.export(args.output, logs=not args.without_logs, artifacts=args.artifacts))
        return
    rows = _experiment(args)._trials()
    if args.output:
        with Path(args.output).open("w", encoding="utf-8", newline="") as file:
            write_rows(rows, file, as_csv=args.csv)
    else:
        write_rows(rows, sys.stdout, as_csv=args.csv)


def import_file(args: argparse.Namespace) -> int | None:
    """Import a file, or with --preview only print its contents."""
    console = _console(args)
    with renamed(as_option):
        work = Import.upload(console, args.workspace, args.file)
    done = False
    try:
        work.wait(report=_report_import)
        _print_preview(work)
        if args.preview:
            return None
        work.confirm(
            study=args.study,
            metric=args.metric,
            direction=args.direction,
            name=args.name,
            project=args.project,
        )
        done = True
    finally:
        if not done and work.row["state"] != "failed":
            work.cancel()
    work.wait(report=_report_import)
    experiment = Experiment.connect(args.url or args.port, work.row["experiment"], args.token)
    print(f"{experiment.id} {experiment.url}")
    return None


def _report_import(row: dict[str, Any]) -> None:
    if row["state"] == "importing" and sys.stderr.isatty():
        print(f"\r{row['done']:,} of {row['total']:,} trials", end="", file=sys.stderr, flush=True)
        if row["done"] == row["total"]:
            print(file=sys.stderr)


def _print_preview(work: Import) -> None:
    """Print the contents of the file on standard error."""
    for study in work.studies:
        states = ", ".join(f"{count:,} {state}" for state, count in study["states"].items())
        metrics = ", ".join(metric["name"] for metric in study["metrics"][:20])
        parameters = ", ".join(parameter["source"] for parameter in study["parameters"][:20])
        print(f"{study['name']} ({work.row['format']}): {states or 'no trials'}", file=sys.stderr)
        print(f"  parameters: {parameters or 'none'}", file=sys.stderr)
        print(f"  metrics: {metrics or 'none'}", file=sys.stderr)
        for description, count in study["left_out"]:
            print(f"  left out: {count:,} {description}", file=sys.stderr)


def update(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    with renamed(lambda _: args.what):
        if args.what == "concurrency":
            experiment.update_trial_concurrency(_integer(args.value))
        elif args.what == "trialnum":
            experiment.update_max_trial_number(_integer(args.value))
        elif args.what == "duration":
            experiment.update_max_experiment_duration(args.value)
        else:
            experiment.update_search_space(read_document(Path(args.value)))
    _print_state(experiment)


def schedule(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    if args.change == "remove":
        experiment.unschedule()
        print(f"{experiment.id} is no longer repeated.")
        return
    row: dict[str, Any] | None
    if args.change:
        row = experiment.pause_schedule() if args.change == "pause" else experiment.unpause_schedule()
    elif args.cron:
        row = experiment.schedule(args.cron, args.time_zone, args.overlap)
    else:
        row = experiment.get_schedule()
    if args.json:
        _json(row)
    elif row is None:
        print(f"{experiment.id} is not repeated.")
    else:
        next_at = f"next {row['next_at']}" if row["next_at"] else "paused"
        print(f"{experiment.id}: {row['cron']} {row['time_zone']}, {next_at}")
        if row["note"]:
            print(f"Last: {row['note']}")


def up(args: argparse.Namespace) -> None:
    if not args.detach:
        server.run(["up", *_options(args, "port", "host", "data", "slots", "workspace", "no_demo")])
    data = Path(args.data).expanduser().absolute() if args.data else None
    options = _options(args, "host", "slots", "workspace")
    console, started = embedded.console_on(args.port or 8080, data=data, options=options, uses_another=False)
    if started:
        started.is_detached = True
    print(f"Trialdeck: {console.url}/")


def down(args: argparse.Namespace) -> None:
    running = [console for console in discovery.running_consoles() if args.port in (None, console["port"])]
    if len(running) > 1:
        ports = ", ".join(str(console["port"]) for console in running)
        raise errors.NotFound(f"Several consoles are running, on ports {ports}. Choose one with --port.")
    if not running:
        raise errors.NotFound("No console is running on this machine.")
    console = running[0]
    with contextlib.suppress(ProcessLookupError):
        os.kill(console["pid"], signal.SIGTERM)
    deadline = time.monotonic() + embedded.END_WITHIN_S
    while discovery.started_ticks(console["pid"]) == console["started"]:
        if time.monotonic() > deadline:
            raise errors.TimedOut(
                f"The console (process {console['pid']}) did not stop within {embedded.END_WITHIN_S:.0f} s."
            )
        time.sleep(0.05)
    print(f"Stopped the console on port {console['port']}.")


def nni_bridge(args: argparse.Namespace) -> int:
    """Run the bridge; --port is the port of the bridge."""
    console = discovery.find(args.url, args.token or None)
    return run_bridge(console, args.experiment, port=args.port)


def _options(args: argparse.Namespace, *names: str) -> list[str]:
    """Return the options that were passed, as a list of arguments for a command line."""
    values = {"--" + name.replace("_", "-"): getattr(args, name) for name in names}
    flags = [option for option, value in values.items() if value is True]
    return flags + [f"{option}={value}" for option, value in values.items() if isinstance(value, str)]


def _console(args: argparse.Namespace) -> Console:
    return discovery.find(args.url or args.port, args.token)


def _experiment(args: argparse.Namespace) -> Experiment:
    """Return the named experiment, or the active one."""
    return Experiment.connect(args.url or args.port, args.experiment, args.token)


def _experiment_of_trial(args: argparse.Namespace) -> Experiment:
    experiment_id, dash, number = args.trial.rpartition("-")
    if not (experiment_id and dash and number.isdigit()):
        raise errors.NotFound(f"No trial {args.trial!r}: trial IDs look like 7f3k2m9q-3.")
    return Experiment.connect(args.url or args.port, experiment_id, args.token)


def _ended(experiment: Experiment) -> int:
    return 0 if experiment.wait(progress=True) else 1


def _print_state(experiment: Experiment) -> None:
    row = experiment._read()
    print(f"{row['id']} {row['state']}")


def _integer(text: str) -> Any:
    """Return the number, or the text for the console to refuse."""
    return int(text) if text.lstrip("-").isdigit() else text


def _number(value: float | None) -> str:
    return numbers([value])[0]


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
