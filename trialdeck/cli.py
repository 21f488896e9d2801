"""The command line: `trialdeck create -f config.yml`, `trialdeck logs -f 7f3k2m9q-3`, …

A command is a parser with `act`, a function of the parsed arguments that returns the exit status (None: 0).
Status 0: done; 1: an error, told in one line on standard error; 2: a command that cannot be understood.
"""

from __future__ import annotations  # for Python 3.8

import argparse
import os
import sys

from trialdeck import __version__, bridge, commands, errors, server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    words = _command_first(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in server.COMMANDS:
            server.run(words)
        args = parser().parse_args(words)
        status = args.act(args) or 0
        sys.stdout.flush()
    except errors.Error as error:
        print(f"trialdeck: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `trialdeck trials … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"trialdeck: {where}{error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="trialdeck",
        description="Tuning experiments on a Trialdeck console: the one that --url, --port or TRIALDECK_URL name, "
        "else the one that runs on this machine.",
    )
    top.add_argument("--version", action="version", version=f"trialdeck {__version__}")
    found = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    found.required = True
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--url", help="the console's address")
    where.add_argument("--port", type=int, help="its port, if it runs on this machine")
    where.add_argument("--token", help="a token for it (better: TRIALDECK_TOKEN)")
    _life(found, where)
    _reading(found, where)
    _changing(found, where)
    _console(found)
    bridge.arguments(
        _add(found, "nni-bridge", commands.nni_bridge, "Let NNI's own client steer an experiment.")
    )
    return top


def _command_first(words: Sequence[str]) -> list[str]:
    """`trialdeck --port 8080 ls` is `trialdeck ls --port 8080`."""
    place = 0
    while place < len(words) and words[place].partition("=")[0] in ("--url", "--port", "--token"):
        place += 1 if "=" in words[place] else 2
    return [*words[place : place + 1], *words[:place], *words[place + 1 :]]


def _add(
    found: Any, name: str, act: Any, text: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    one = found.add_parser(name, help=text, description=text, parents=list(parents))
    one.set_defaults(act=act)
    return one


def _life(found: Any, where: argparse.ArgumentParser) -> None:
    one = _add(found, "create", commands.create, "Start an experiment from a file.", where)
    one.add_argument("-f", "--file", required=True, metavar="FILE", help="config.yml or config.json")
    one.add_argument("--wait", action="store_true", help="stay until it ends; status 1 when it fails")
    for name, act, text in (
        ("stop", commands.stop, "Stop an experiment; returns when its last process has ended."),
        ("pause", commands.pause, "Start nothing new; running trials go on."),
        ("unpause", commands.unpause, "Start trials again."),
        ("wait", commands.wait, "Wait until it ends; status 1 when it fails."),
    ):
        _experiment(_add(found, name, act, text, where))
    one = _add(found, "resume", commands.resume, "Run one on that has ended.", where)
    one.add_argument("experiment", metavar="EXPERIMENT", help="its ID or name")
    one.add_argument("--trialnum", type=int, metavar="N", help="a larger number of trials")
    one.add_argument("--duration", metavar="TIME", help="a longer time, as 2h")
    one.add_argument("--wait", action="store_true", help="stay until it ends; status 1 when it fails")
    one = _add(found, "clone", commands.clone, "Make a draft with the settings of another.", where)
    _experiment(one)
    one.add_argument("--name", help="of the new one")
    one.add_argument("--start", action="store_true", help="start it at once")


def _reading(found: Any, where: argparse.ArgumentParser) -> None:
    one = _add(found, "ls", commands.ls, "List experiments, the latest first.", where)
    one.add_argument("text", nargs="?", help="part of an ID or a name")
    one.add_argument("--state", help="only those in this state")
    one.add_argument("--all", action="store_true", help="not only the latest 50")
    _json(one)
    _json(_experiment(_add(found, "show", commands.show, "Tell about an experiment.", where)))
    one = _experiment(_add(found, "trials", commands.trials, "List its trials.", where))
    one.add_argument("--state", help="only those in this state")
    _json(one)
    _json(_experiment(_add(found, "best", commands.best, "Tell its best trial.", where)))
    one = _add(found, "logs", commands.logs, "Print what a trial printed.", where)
    one.add_argument("trial", metavar="TRIAL", help="its ID, as 7f3k2m9q-3")
    one.add_argument("-f", "--follow", action="store_true", help="until it ends")
    one = _experiment(_add(found, "export", commands.export, "Write all its trials as a table.", where))
    kind = one.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", action="store_true")
    kind.add_argument("--json", action="store_true")
    one.add_argument("-o", "--output", metavar="FILE", help="instead of standard output")


def _changing(found: Any, where: argparse.ArgumentParser) -> None:
    one = _add(found, "update", commands.update, "Change an experiment while it runs.", where)
    one.add_argument("what", choices=commands.UPDATES)
    one.add_argument(
        "value", metavar="VALUE", help="a number; a time, as 2h; for searchspace a JSON or YAML file"
    )
    _experiment(one)
    for name, act, text in (
        ("kill", commands.kill, "Stop one trial; returns when its processes have ended."),
        ("rerun", commands.rerun, "Try the values of a failed trial again."),
    ):
        _add(found, name, act, text, where).add_argument(
            "trial", metavar="TRIAL", help="its ID, as 7f3k2m9q-3"
        )


def _console(found: Any) -> None:
    one = _add(found, "up", commands.up, "Run the console on this machine, until Ctrl-C.")
    one.add_argument("-d", "--detach", action="store_true", help="in the background, until `trialdeck down`")
    one.add_argument("--port", help="where it listens (default: 8000; with --detach: 8080)")
    one.add_argument("--host", help="the address on which it listens (default: 127.0.0.1)")
    one.add_argument(
        "--data",
        help="the data folder (default: TRIALDECK_DATA; else ~/.trialdeck/data, and for a console "
        "that runs from its sources in the foreground their folder var)",
    )
    one.add_argument("--slots", help="trials in parallel (default: one per core)")
    one.add_argument("--workspace", help="create this workspace (a slug) if it does not exist")
    one.add_argument("--no-demo", action="store_true", help="no demo workspace at the first start")
    one = _add(
        found, "down", commands.down, "End the console that runs on this machine, with what runs on it."
    )
    one.add_argument("--port", type=int, help="which one, if there are several")
    for name, text in server.COMMANDS.items():  # for the list of commands: `main` passes them on
        _add(found, name, None, text)


def _experiment(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
    one.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="ID or name; left out, the one under way"
    )
    return one


def _json(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
    one.add_argument("--json", action="store_true", help="as JSON")
    return one


if __name__ == "__main__":
    sys.exit(main())
