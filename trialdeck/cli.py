"""The command line: `trialdeck create -f config.yml`, `trialdeck logs -f 7f3k2m9q-3`, …

Each command sets `handler`, a function of the parsed arguments that returns the exit status (None: 0).
Status 0: success; 1: an error, in one line on standard error; 2: a usage error.
"""

from __future__ import annotations  # for Python 3.8

import argparse
import os
import sys

from trialdeck import __version__, commands, errors, server
from trialdeck.nni import bridge as nni_bridge
from trialdeck.tune import command as tune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Handler = Callable[[argparse.Namespace], "int | None"]
    Subparsers = Any  # argparse does not publish the type


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _command_first(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in server.COMMANDS:
            server.run(arguments)
        arguments, passed = _split(arguments)
        args = parser().parse_args(arguments)
        args.arguments = passed
        status = args.handler(args) or 0
        sys.stdout.flush()
    except errors.Error as error:
        print(f"trialdeck: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `trialdeck trials … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        print(f"trialdeck: {file}{error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="trialdeck",
        description="Run hyperparameter-tuning experiments on a Trialdeck console: the one that --url, --port or "
        "TRIALDECK_URL names, or the one running on this machine.",
    )
    top.add_argument("--version", action="version", version=f"trialdeck {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    subparsers.required = True
    connection = argparse.ArgumentParser(add_help=False)
    connection.add_argument("--url", help="address of the console")
    connection.add_argument("--port", type=int, help="port of a console on this machine")
    connection.add_argument("--token", help="API token (better: TRIALDECK_TOKEN)")
    _add_tune(subparsers, connection)
    _add_lifecycle(subparsers, connection)
    _add_queries(subparsers, connection)
    _add_changes(subparsers, connection)
    _add_import(subparsers, connection)
    _add_console(subparsers)
    nni_bridge.arguments(
        _add(subparsers, "nni-bridge", commands.nni_bridge, "Connect NNI's own client to an experiment.")
    )
    return top


def _command_first(arguments: Sequence[str]) -> list[str]:
    """Reorder `trialdeck --port 8080 ls` to `trialdeck ls --port 8080`."""
    place = 0
    while place < len(arguments) and arguments[place].partition("=")[0] in ("--url", "--port", "--token"):
        place += 1 if "=" in arguments[place] else 2
    return [*arguments[place : place + 1], *arguments[:place], *arguments[place + 1 :]]


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the words of `trialdeck tune train.py -- --epochs 3`, and the arguments of the script behind the --."""
    if arguments[:1] != ["tune"] or "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _add(
    subparsers: Subparsers, name: str, handler: Handler | None, text: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text, parents=list(parents)
    )
    command.set_defaults(handler=handler)
    return command


def _add_tune(subparsers: Subparsers, connection: argparse.ArgumentParser) -> None:
    text = "Tune a script: read its arguments, search for the best values, print them."
    command = _add(subparsers, "tune", tune.tune, text, connection)
    command.usage = "trialdeck tune SCRIPT [options] [-- ARGUMENTS OF THE SCRIPT]"
    command.add_argument("script", metavar="SCRIPT", help="train.py, or a whole command in quotes")
    command.add_argument(
        "-m",
        "--metric",
        dest="metrics",
        action="append",
        default=[],
        metavar="NAME",
        help="metric to optimize, as the script prints or reports it; for several objectives, repeat the option with "
        "a direction: -m accuracy:maximize -m latency_ms:minimize",
    )
    direction = command.add_mutually_exclusive_group()
    direction.add_argument("--maximize", dest="direction", action="store_const", const="maximize")
    direction.add_argument("--minimize", dest="direction", action="store_const", const="minimize")
    command.add_argument(
        "-p",
        "--parameter",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=TYPE:VALUES",
        help="search this parameter, such as lr=loguniform:1e-5,1e-1, opt=adam,sgd, or lr for the suggested range; "
        "repeat it for more (default: all arguments of the script that suggest a range)",
    )
    command.add_argument(
        "--pattern", metavar="REGEX", help="reads the metric from the output: 'accuracy: {number}'"
    )
    command.add_argument(
        "--result-file", metavar="FILE", help="JSON file with the metric, written by the script"
    )
    command.add_argument(
        "-n", "--trials", type=int, default=20, metavar="N", help="number of trials (default: 20)"
    )
    command.add_argument(
        "-j", "--concurrency", type=int, metavar="N", help="trials in parallel (default: up to 4)"
    )
    command.add_argument("--duration", metavar="TIME", help="total run time, such as 2h")
    command.add_argument("--trial-duration", metavar="TIME", help="run time of one trial, such as 10m")
    command.add_argument(
        "--goal", type=float, metavar="VALUE", help="stop when the metric reaches this value"
    )
    command.add_argument("--algorithm", metavar="NAME", help="such as TPE (default), Random, GridSearch")
    command.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same proposals")
    command.add_argument(
        "--python", metavar="PATH", help="interpreter (default: the first that has the imports)"
    )
    command.add_argument("--name", help="name of the experiment (default: that of the script)")
    for name in ("workspace", "project", "queue"):
        command.add_argument(f"--{name}", metavar="NAME", help=f"{name} of the experiment")
    command.add_argument(
        "--slots", type=int, metavar="N", help="as in create: trials in parallel of a new console"
    )
    command.add_argument("-y", "--yes", action="store_true", help="start without asking")
    command.add_argument("--detach", action="store_true", help="do not wait for the end")


def _add_lifecycle(subparsers: Subparsers, connection: argparse.ArgumentParser) -> None:
    command = _add(subparsers, "create", commands.create, "Start an experiment from a file.", connection)
    command.add_argument(
        "-f",
        "--file",
        "-c",
        "--config",
        required=True,
        metavar="FILE",
        help="config.yml or config.json; NNI's too",
    )
    for name in ("workspace", "project", "queue"):
        command.add_argument(
            f"--{name}", metavar="NAME", help=f"{name} of the experiment, instead of the file's"
        )
    command.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="trials in parallel, if this starts the console (default: one per core)",
    )
    command.add_argument("--wait", action="store_true", help="wait until it ends; status 1 if it fails")
    for name, handler, text in (
        ("stop", commands.stop, "Stop an experiment and wait until its last process has ended."),
        ("pause", commands.pause, "Start no new trials; running trials continue."),
        ("unpause", commands.unpause, "Start new trials again."),
        ("wait", commands.wait, "Wait until an experiment ends; status 1 if it fails."),
    ):
        _add_experiment(_add(subparsers, name, handler, text, connection))
    command = _add(subparsers, "resume", commands.resume, "Resume an experiment that has ended.", connection)
    command.add_argument("experiment", metavar="EXPERIMENT", help="ID or name")
    command.add_argument("--trialnum", type=int, metavar="N", help="new, larger number of trials")
    command.add_argument("--duration", metavar="TIME", help="new, longer duration, such as 2h")
    command.add_argument(
        "--goal", type=float, metavar="VALUE", help="new goal: stop when the metric reaches this value"
    )
    command.add_argument(
        "--rerun-failed",
        action="store_true",
        help="also rerun the failed trials whose values never succeeded",
    )
    command.add_argument("--wait", action="store_true", help="wait until it ends; status 1 if it fails")
    text = "Create a draft with the settings of another experiment."
    command = _add(subparsers, "clone", commands.clone, text, connection)
    _add_experiment(command)
    command.add_argument("--name", help="name of the new experiment")
    command.add_argument("--start", action="store_true", help="also start it")


def _add_queries(subparsers: Subparsers, connection: argparse.ArgumentParser) -> None:
    command = _add(subparsers, "ls", commands.ls, "List experiments, newest first.", connection)
    command.add_argument("text", nargs="?", help="ID or name, or a part of one")
    command.add_argument("--state", help="only experiments in this state")
    command.add_argument("--filter", metavar="TEXT", help="such as: tag:cvpr best>0.9 (see docs/filters.md)")
    command.add_argument("--all", action="store_true", help="list all, not only the latest 50")
    _add_json(command)
    _add_json(_add_experiment(_add(subparsers, "show", commands.show, "Show an experiment.", connection)))
    text = "List the trials of an experiment."
    command = _add_experiment(_add(subparsers, "trials", commands.trials, text, connection))
    command.add_argument("--state", help="only trials in this state")
    command.add_argument("--filter", metavar="TEXT", help="such as: lr<1e-3 value>0.9 (see docs/filters.md)")
    _add_json(command)
    text = "Show the best trial of an experiment; with several objectives the Pareto front."
    _add_json(_add_experiment(_add(subparsers, "best", commands.best, text, connection)))
    command = _add(subparsers, "logs", commands.logs, "Print the log of a trial.", connection)
    command.add_argument("trial", metavar="TRIAL", help="trial ID, such as 7f3k2m9q-3")
    command.add_argument("-f", "--follow", action="store_true", help="follow the log until the trial ends")
    text = "Export an experiment as one file for `trialdeck import`, or its trials as a table."
    command = _add_experiment(_add(subparsers, "export", commands.export, text, connection))
    output_format = command.add_mutually_exclusive_group()
    output_format.add_argument("--csv", action="store_true", help="all trials as a table")
    output_format.add_argument("--json", action="store_true", help="all trials as JSON")
    command.add_argument("--artifacts", action="store_true", help="with output files of trials")
    command.add_argument("--without-logs", action="store_true", help="without the logs of trials")
    command.add_argument(
        "-o", "--output", metavar="FILE", help="output file (default, for tables: standard output)"
    )
    command.set_defaults(usage_error=command.error)


def _add_changes(subparsers: Subparsers, connection: argparse.ArgumentParser) -> None:
    text = "Change an experiment while it runs."
    command = _add(subparsers, "update", commands.update, text, connection)
    command.add_argument("what", choices=commands.UPDATES)
    command.add_argument(
        "value", metavar="VALUE", help="a number; a duration, such as 2h; for searchspace a JSON or YAML file"
    )
    _add_experiment(command)
    text = "Schedule an experiment with a cron expression; without one, show its schedule."
    command = _add(subparsers, "schedule", commands.schedule, text, connection)
    command.add_argument("experiment", metavar="EXPERIMENT", help="ID or name")
    change = command.add_mutually_exclusive_group()
    change.add_argument("cron", nargs="?", metavar="CRON", help='in quotes, such as "0 2 * * 1-5", or @daily')
    for name in ("pause", "unpause", "remove"):
        change.add_argument(f"--{name}", dest="change", action="store_const", const=name)
    command.add_argument(
        "--time-zone", metavar="NAME", default="UTC", help="such as Europe/Berlin (default: UTC)"
    )
    command.add_argument(
        "--overlap",
        choices=("skip", "start"),
        default="skip",
        help="when the last clone is still active (default: skip)",
    )
    _add_json(command)
    for name, handler, text in (
        ("kill", commands.kill, "Stop a trial and wait until its processes have ended."),
        ("rerun", commands.rerun, "Run the parameters of a failed trial again."),
    ):
        command = _add(subparsers, name, handler, text, connection)
        command.add_argument("trial", metavar="TRIAL", help="trial ID, such as 7f3k2m9q-3")


def _add_import(subparsers: Subparsers, connection: argparse.ArgumentParser) -> None:
    text = (
        "Import a file as an experiment: an export of Trialdeck, an Optuna storage, MLflow runs, an export of W&B or "
        "NNI, CSV or JSON."
    )
    command = _add(subparsers, "import", commands.import_file, text, connection)
    command.add_argument("file", metavar="FILE")
    command.add_argument(
        "--preview", action="store_true", help="print the contents of the file without importing"
    )
    command.add_argument("--study", metavar="NAME", help="the study to import, if the file has several")
    command.add_argument("-m", "--metric", metavar="NAME", help="objective metric")
    direction = command.add_mutually_exclusive_group()
    direction.add_argument("--maximize", dest="direction", action="store_const", const="maximize")
    direction.add_argument("--minimize", dest="direction", action="store_const", const="minimize")
    command.add_argument("--name", help="name of the experiment")
    command.add_argument("--workspace", metavar="NAME", help="workspace of the experiment")
    command.add_argument("--project", metavar="NAME", help="project of the experiment")


def _add_console(subparsers: Subparsers) -> None:
    command = _add(subparsers, "up", commands.up, "Run the console on this machine, until Ctrl-C.")
    command.add_argument(
        "-d", "--detach", action="store_true", help="run in the background, until `trialdeck down`"
    )
    command.add_argument("--port", help="port to listen on (default: 8000; with --detach: 8080)")
    command.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    command.add_argument(
        "--data",
        help="data folder (default: TRIALDECK_DATA, or ~/.trialdeck/data; in the foreground from a source "
        "checkout: its folder var)",
    )
    command.add_argument("--slots", help="trials in parallel (default: one per core)")
    command.add_argument("--workspace", help="create this workspace (a slug) if it does not exist")
    command.add_argument("--no-demo", action="store_true", help="create no demo workspace at the first start")
    command = _add(
        subparsers, "down", commands.down, "Stop the console on this machine, and everything it runs."
    )
    command.add_argument("--port", type=int, help="port of the console, if several are running")
    for name, text in server.COMMANDS.items():  # listed here for --help; `main` passes them on
        _add(subparsers, name, None, text)


def _add_experiment(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="ID or name (default: the active experiment)"
    )
    return command


def _add_json(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


if __name__ == "__main__":
    sys.exit(main())
