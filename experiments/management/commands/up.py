"""`trialdeck up`: run the whole console on one machine, in the foreground, until Ctrl-C."""

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from console import connection_file, static_files
from console.one_machine import HOST, Plan, Prepared, become_supervisor, host_in_url, say
from console.supervisor import Failed
from experiments import broker
from experiments.management.arguments import (
    add_data_argument,
    check_not_newer,
    check_one_machine,
    check_writable,
    default_slots,
    first_line,
    is_behind,
    lease_s,
    refuse,
    whole_number,
)

LINK_VALID_FOR = timedelta(hours=24)


class Command(BaseCommand):
    help = "Run broker, database, web, worker and control on this machine. Ctrl-C stops all of them."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", default=8000, help="port of the console (default: 8000)")
        parser.add_argument(
            "--host",
            default=HOST,
            help="address to listen on (default: 127.0.0.1; list others in TRIALDECK_HOSTS)",
        )
        parser.add_argument(
            "--slots", default=default_slots(), help="parallel trials (default: one per core)"
        )
        parser.add_argument(
            "--no-demo", action="store_true", help="do not create the demo workspace at first start"
        )
        parser.add_argument(
            "--reload", action="store_true", help="for development: reload the web server on changes"
        )
        parser.add_argument("--workspace", help="create this workspace (a slug) if it does not exist")
        add_data_argument(parser)

    def handle(
        self,
        *,
        port: str | int,
        host: str,
        slots: str | int,
        no_demo: bool,
        reload: bool,
        workspace: str | None,
        **_: object,
    ) -> None:
        port = whole_number(port, name="--port", low=1, high=65535)
        check_host(host)
        slots = whole_number(slots, name="--slots", low=1, high=512)
        if workspace and not re.fullmatch("[a-z0-9][a-z0-9-]{0,49}", workspace):
            refuse(f"--workspace must consist of lowercase letters, digits and -, not {workspace!r}.")
        lease_s()  # check it here, because the worker would exit with it again and again
        check_one_machine()
        check_writable(settings.DATA)
        lock = take(settings.DATA, address=f"http://{host_in_url(host)}:{port}/")
        broker_command = broker_argv()
        pid, start, prepared = prepare_in_fork(
            lock, lambda: prepare(wants_demo=not no_demo, workspace=workspace)
        )
        plan = Plan(
            host=host,
            port=port,
            slots=slots,
            data=str(settings.DATA),
            folder=str(settings.DATA if settings.IS_INSTALLED else settings.ROOT),
            installation="up-" + hashlib.sha256(os.fsencode(settings.DATA)).hexdigest()[:16],
            python=python(),
            manage=[*python(), *(["-m", "console"] if settings.IS_INSTALLED else ["manage.py"])],
            broker=broker_command,
            has_proxies=bool(settings.TRUSTED_PROXIES),
            reloads=reload,
            lock=lock.fileno(),
            preparing=pid,
            start=start,
            prepared=prepared,
        )
        become_supervisor(plan, sys.argv[1:])


def broker_argv() -> list[str]:
    """Return the command line of the embedded broker, [] if another one is used. Exit if there is no program."""
    try:
        return [] if os.environ.get("REDIS_URL") else broker.argv(settings.DATA)
    except broker.BrokerError as error:
        refuse(str(error))


def prepare_in_fork(lock: TextIO, prepare: Callable[[], Prepared]) -> tuple[int, int, int]:
    """Fork a process that calls `prepare` as soon as it is sent a byte, sends the result, and ends. It ends at once if
    the sender is closed, for example because this process was killed. Return its PID, and the descriptors for the byte
    and the result."""
    (may_start, start), (prepared, result) = os.pipe(), os.pipe()
    if pid := os.fork():
        os.close(may_start)
        os.close(result)
        return pid, start, prepared
    status = 1
    try:
        lock.close()
        os.close(start)
        os.close(prepared)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a migration under way is completed first
        if os.read(may_start, 1):
            threading.Thread(target=_end_with, args=(may_start,), daemon=True).start()
            os.write(result, json.dumps(asdict(prepare())).encode())
            status = 0
    except BaseException:  # noqa: BLE001  it must not return into its caller
        traceback.print_exc()
    finally:
        os._exit(status)


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)  # until the other process has ended, or wants this one to
    os._exit(1)


def prepare(*, wants_demo: bool, workspace: str | None) -> Prepared:
    """Bring the database up to date, create what a first start needs, and say so."""
    try:
        if os.environ.get("REDIS_URL"):
            check_outside_broker()
            say(f"  {'broker':9} external (REDIS_URL)")
        is_first, enter = prepare_database()
        say(f"  {'database':9} ready            {settings.DATABASES['default']['NAME']}")
        static_files.collect()
        if is_first and wants_demo and "demo" in get_commands():
            call_command("demo")
        if workspace:
            make_workspace(workspace)
        if is_first:
            ensure_workspace()
    except Failed as failed:
        return Prepared(problem=str(failed))
    except SystemExit as refused:  # see `refuse`
        return Prepared(problem=str(refused.code))
    return Prepared(enter=enter or "", token=new_token())


def new_token() -> str:
    """Return a new API token for scripts of this user. The console works without it."""
    try:
        return connection_file.new_token()
    except DatabaseError as error:
        say(f"No token could be created: {first_line(error)}. Scripts on this machine need an API token.")
        return ""


def make_workspace(slug: str) -> None:
    from experiments.models import Workspace
    from experiments.models.account.user import ensure_owner

    if not Workspace.objects.filter(slug=slug).exists():
        Workspace.open(slug, name=slug.capitalize(), owner=ensure_owner()[0])


def ensure_workspace() -> None:
    """Create the workspace `main` if there is none, so that a newcomer can start immediately."""
    from experiments.models import Workspace

    if not Workspace.objects.exists():
        make_workspace("main")


def take(data: Path, *, address: str) -> TextIO:
    """Lock the data folder for this process and return the open lock file. Exit when another `up` holds it."""
    path = data / "up.lock"
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        refuse(
            f"The data folder {data} is in use by {holder}. Stop that process, or choose another folder with --data."
        )
    lock.truncate(0)
    lock.write(f"the Trialdeck at {address} (process {os.getpid()})")
    lock.flush()
    return lock


def check_host(host: str) -> None:
    """Exit when this is not an IPv4 address; 0.0.0.0 means all addresses of this machine."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        refuse(f"--host must be an address such as 127.0.0.1 or 0.0.0.0, not {host!r}.")


def check_outside_broker() -> None:
    """Raise Failed when the broker at REDIS_URL does not respond."""
    from kombu import Connection

    with Connection(
        settings.CELERY_BROKER_URL, connect_timeout=3, transport_options={"socket_timeout": 3}
    ) as outside:
        try:
            outside.default_channel.client.ping()
        except Exception as error:  # noqa: BLE001  each transport raises its own exceptions
            raise Failed(
                f"The broker {outside.as_uri()} (REDIS_URL) does not respond: {first_line(error)}."
            ) from error


def prepare_database() -> tuple[bool, str | None]:
    """Migrate. Return whether this is the first start, and a sign-in token until the owner has signed in once."""
    from experiments.models import SignInLink
    from experiments.models.account.user import ensure_owner

    try:
        check_not_newer()
        if is_behind():
            call_command("migrate", interactive=False, verbosity=0)
        owner, is_first = ensure_owner()
    except DatabaseError as error:
        raise Failed(f"The database cannot be used: {first_line(error)}.") from error
    if is_first or (owner.last_login is None and not owner.has_usable_password()):
        return is_first, SignInLink.issue(owner, LINK_VALID_FOR)
    return is_first, None


def python() -> list[str]:
    """Return the start of a command line that runs Python.

    An installed console must be imported from its installation, not from the working directory or PYTHONPATH, which
    may contain a package with the same name.
    """
    return [sys.executable, "-EPu"] if settings.IS_INSTALLED else [sys.executable]
