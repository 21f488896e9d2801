"""What the commands of the command line do. Tables on standard output, errors as exceptions."""

from __future__ import annotations  # for Python 3.8

import contextlib
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

from trialdeck import bridge, embedded, errors, finding, server, where
from trialdeck.config import ExperimentConfig, seconds
from trialdeck.console import Console
from trialdeck.data import RunMode
from trialdeck.experiment import Experiment
from trialdeck.files import read_document
from trialdeck.progress import duration
from trialdeck.tables import print_table, write_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

UPDATES = ("concurrency", "duration", "trialnum", "searchspace")
SEEN = 50
NAME = 60  # letters of a name in a table


def create(args: argparse.Namespace) -> int | None:
    config = ExperimentConfig.load(args.file)
    experiment = Experiment(config)
    if args.url or args.token:
        console = where.find(args.url or args.port, args.token)
        experiment._start_on(console)
    else:
        experiment.start(args.port or 8080, run_mode=RunMode.Detach)
    print(f"{experiment.id} {experiment.url}", flush=True)
    return _ended(experiment) if args.wait else None


def stop(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.stop()
    _tell(experiment)


def pause(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.pause()
    _tell(experiment)


def unpause(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    experiment.unpause()
    _tell(experiment)


def wait(args: argparse.Namespace) -> int:
    return _ended(_experiment(args))


def resume(args: argparse.Namespace) -> int | None:
    experiment = _experiment(args)
    told = {"max_trials": args.trialnum, "max_duration_s": seconds(args.duration, "duration")}
    experiment._act("resume", **{name: value for name, value in told.items() if value is not None})
    _tell(experiment)
    return _ended(experiment) if args.wait else None


def clone(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    told = {"start": args.start, **({"name": args.name} if args.name else {})}
    made = experiment._connected().post(f"{experiment._path}/clone", told)
    print(f"{made['id']} {made['url']}")


def ls(args: argparse.Namespace) -> None:
    console = _console(args)
    asked = {"q": args.text, "status": args.state, "sort": "-created"}
    rows = (
        {"workspace": room, **one}
        for room in finding.rooms(console)
        for one in console.items(f"workspaces/{room}/experiments", **asked)
    )
    found = list(rows if args.all else itertools.islice(rows, SEEN))
    found.sort(key=lambda one: one["created_at"], reverse=True)
    if args.json:
        _json(found)
        return
    table = [
        (
            one["id"],
            one["name"] if len(one["name"]) <= NAME else one["name"][: NAME - 1] + "…",
            one["state"],
            str(sum(one["counts"].values())),
            _number(one["best"] and one["best"]["value"]),
            duration(one["elapsed_s"] or 0),
            f"{one['workspace']}/{one['project']}",
        )
        for one in found
    ]
    print_table(("ID", "NAME", "STATE", "TRIALS", "BEST", "TIME", "PROJECT"), table)


def show(args: argparse.Namespace) -> None:
    told = _experiment(args)._read()
    if args.json:
        _json(told)
        return
    settings, best = told["settings"], told["best"]
    counts = ", ".join(f"{number} {state}" for state, number in told["counts"].items() if number)
    lines = {
        "ID": told["id"],
        "Name": told["name"],
        "State": told["state"] + (f" ({told['reason']})" if told["reason"] else ""),
        "Where": f"{told['workspace']}/{told['project']}, queue {told['queue'] or '–'}",
        "Objective": f"{settings['direction']} {settings['metric']}",
        "Best": f"{_number(best['value'])} (trial {told['id']}-{best['number']})" if best else "–",
        "Trials": counts or "none",
        "Budget": f"{settings['max_trials'] or 'no limit of'} trials, {settings['concurrency']} at once",
        "Time": duration(told["elapsed_s"] or 0),
        "Algorithm": settings["algorithm"],
        "Command": settings["command"].replace("\n", "\n" + " " * 11),
        "Address": told["url"],
    }
    for name, text in lines.items():
        print(f"{name + ':':10} {text}")


def trials(args: argparse.Namespace) -> None:
    rows = list(_experiment(args)._trials(state=args.state))
    if args.json:
        _json(rows)
        return
    table = [
        (
            one["id"],
            one["state"],
            _number(one["value"]),
            "" if one["duration_s"] is None else f"{one['duration_s']:.1f} s",
            one["failure"] or "",
            json.dumps(one["params"], ensure_ascii=False),
        )
        for one in rows
    ]
    print_table(("TRIAL", "STATE", "VALUE", "TIME", "FAILURE", "PARAMETERS"), table)


def best(args: argparse.Namespace) -> int | None:
    found = _experiment(args).best()
    if found is None:
        print("No trial has a value yet.", file=sys.stderr)
        return 1
    if args.json:
        _json({"id": found.trialJobId, "value": found.value, "params": found.parameter})
        return None
    print(f"{found.trialJobId} {_number(found.value)}")
    for name, value in found.parameter.items():
        print(f"  {name} = {json.dumps(value, ensure_ascii=False)}")
    return None


def logs(args: argparse.Namespace) -> None:
    experiment = _of_trial(args)
    for piece in experiment._pieces(args.trial, is_followed=args.follow):
        sys.stdout.write(piece)
        sys.stdout.flush()


def kill(args: argparse.Namespace) -> None:
    experiment = _of_trial(args)
    experiment.kill_trial_job(args.trial)
    print(f"{args.trial} {experiment.get_trial_job(args.trial).status}")


def rerun(args: argparse.Namespace) -> None:
    made = _of_trial(args).rerun(args.trial)
    print(f"{made.trialJobId} {made.status}")


def export(args: argparse.Namespace) -> None:
    rows = _experiment(args)._trials()
    if args.output:
        with Path(args.output).open("w", encoding="utf-8", newline="") as file:
            write_rows(rows, file, as_csv=args.csv)
    else:
        write_rows(rows, sys.stdout, as_csv=args.csv)


def update(args: argparse.Namespace) -> None:
    experiment = _experiment(args)
    if args.what == "concurrency":
        experiment.update_trial_concurrency(_whole(args.value))
    elif args.what == "trialnum":
        experiment.update_max_trial_number(_whole(args.value))
    elif args.what == "duration":
        experiment.update_max_experiment_duration(args.value)
    else:
        experiment.update_search_space(read_document(Path(args.value)))
    _tell(experiment)


def up(args: argparse.Namespace) -> None:
    if not args.detach:
        server.run(["up", *_options(args, "port", "host", "data", "slots", "workspace", "no_demo")])
    data = Path(args.data).expanduser().absolute() if args.data else None
    options = _options(args, "host", "slots", "workspace")
    console, started = embedded.console_on(args.port or 8080, data=data, options=options)
    if started:
        started.is_detached = True
    print(f"Trialdeck is at {console.url}/")


def down(args: argparse.Namespace) -> None:
    found = [note for note in where.notes() if args.port in (None, note["port"])]
    if len(found) != 1:
        ports = ", ".join(str(note["port"]) for note in found)
        said = (
            f"Several run here, on ports {ports}: say which one, --port."
            if found
            else "None runs here for you."
        )
        raise errors.NotFound(said)
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[0]["pid"], signal.SIGTERM)
    deadline = time.monotonic() + embedded.END_WITHIN_S
    while where.started_ticks(found[0]["pid"]) == found[0]["started"]:
        if time.monotonic() > deadline:
            raise errors.TimedOut(
                f"The process {found[0]['pid']} did not end within {embedded.END_WITHIN_S:.0f} s."
            )
        time.sleep(0.05)
    print(f"The console on port {found[0]['port']} has ended.")


def nni_bridge(args: argparse.Namespace) -> int:
    """Here --port is the bridge's own."""
    console = where.find(args.url, args.token or None)
    return bridge.run(console, args.experiment, port=args.port)


def _options(args: argparse.Namespace, *names: str) -> list[str]:
    """Return those of these options that were given, as words of a command line."""
    values = {"--" + name.replace("_", "-"): getattr(args, name) for name in names}
    flags = [option for option, value in values.items() if value is True]
    return flags + [f"{option}={value}" for option, value in values.items() if isinstance(value, str)]


def _console(args: argparse.Namespace) -> Console:
    return where.find(args.url or args.port, args.token)


def _experiment(args: argparse.Namespace) -> Experiment:
    """The one that is named; else the one under way."""
    return Experiment.connect(args.url or args.port, args.experiment, args.token)


def _of_trial(args: argparse.Namespace) -> Experiment:
    experiment_id, dash, number = args.trial.rpartition("-")
    if not (experiment_id and dash and number.isdigit()):
        raise errors.NotFound(f"There is no trial {args.trial!r}: IDs of trials look like 7f3k2m9q-3.")
    return Experiment.connect(args.url or args.port, experiment_id, args.token)


def _ended(experiment: Experiment) -> int:
    return 0 if experiment.wait(progress=True) else 1


def _tell(experiment: Experiment) -> None:
    told = experiment._read()
    print(f"{told['id']} {told['state']}")


def _whole(text: str) -> Any:
    """A number if it is one; what is none, the console refuses."""
    return int(text) if text.lstrip("-").isdigit() else text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
