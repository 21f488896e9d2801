"""`trialdeck up`: the whole console on one machine, in the foreground, until Ctrl-C."""

import fcntl
import hashlib
import http.client
import ipaddress
import os
import re
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connections

from console import connection_file, static_files
from console.supervisor import Failed, Service, Stopped, Supervisor
from experiments import broker
from experiments.management.arguments import (
    add_data_argument,
    check_one_machine,
    default_slots,
    first_line,
    is_behind,
    lease_s,
    refuse,
    whole_number,
)

HOST = "127.0.0.1"
LINK_VALID_FOR = timedelta(hours=24)
END_ORDER = ["web", "worker", "control", "broker"]


class Command(BaseCommand):
    help = "Starts broker, database, web, worker and control on this machine; Ctrl-C ends them all."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", default=8000, help="where the console listens (default: 8000)")
        parser.add_argument(
            "--host",
            default=HOST,
            help="the address on which it listens (default: 127.0.0.1; name others in TRIALDECK_HOSTS)",
        )
        parser.add_argument("--slots", default=default_slots(), help="trials at once (default: one per core)")
        parser.add_argument("--no-demo", action="store_true", help="the first start makes no demo workspace")
        parser.add_argument(
            "--reload", action="store_true", help="for development: pages follow changes of the code"
        )
        parser.add_argument("--workspace", help="makes this workspace (a slug) if it is not there")
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
            refuse(f"--workspace must be small letters, digits and -, not {workspace!r}.")
        lease_s()  # else its worker would be refused, again and again
        check_one_machine()
        url = f"http://{here(host)}:{port}"
        lock = take(settings.DATA, address=f"{url}/")
        supervisor = Supervisor(
            folder=settings.DATA if settings.IS_INSTALLED else settings.ROOT,
            env={**os.environ, "TRIALDECK_DATA": str(settings.DATA), "PYTHONUNBUFFERED": "1"},
            installation="up-" + hashlib.sha256(os.fsencode(settings.DATA)).hexdigest()[:16],
            say=say,
        )
        supervisor.obey_signals()
        left = None
        try:
            supervisor.sweep()
            check_port(host, port)
            enter = bring_up(
                supervisor,
                (web_with_reload if reload else web)(host, port, settings.DATA / "log"),
                url=url,
                slots=slots,
                wants_demo=not no_demo,
                workspace=workspace,
            )
            left = leave_note(url, port, enter)
            welcome(url, enter)
            supervisor.watch()
        except Stopped:
            say("\nStopping: web, worker, control, broker.")
            problem = None
        except (Failed, broker.BrokerError) as error:
            problem = str(error)
        finally:
            if left:
                connection_file.remove(left)
            supervisor.end(END_ORDER)
            lock.truncate(0)
            lock.close()
        if problem:
            refuse(problem)
        say("Everything has ended. The next start goes on from here.")


def bring_up(
    supervisor: Supervisor, web: Service, *, url: str, slots: int, wants_demo: bool, workspace: str | None
) -> str:
    """Starts everything in order, saying so; returns when the console can be used.

    What it returns is the address that signs the owner in, or nothing.
    """
    data = settings.DATA
    logs = data / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    say(f"Trialdeck, data in {data}")

    if os.environ.get("REDIS_URL"):
        check_outside_broker()
        say(f"  {'broker':9} yours (REDIS_URL)")
    else:
        service = Service(
            "broker", broker.argv(data), logs / "broker.log", lambda: broker.is_answering(data), grace_s=1.0
        )
        supervisor.start(service)
        supervisor.wait_until_ready(service)
        say(f"  {'broker':9} ready            {service.log}")

    is_first, token = prepare_database()
    say(f"  {'database':9} ready            {settings.DATABASES['default']['NAME']}")
    static_files.collect()
    if is_first and wants_demo and "demo" in get_commands():
        call_command("demo")
    if workspace:
        make_workspace(workspace)
    connections.close_all()

    services = [web, worker(slots, data, logs), control(data, logs)]
    supervisor.start(*services)
    for service in services:
        supervisor.wait_until_ready(service)
        extra = f"{slots} slot{'s' * (slots > 1)}" if service.name == "worker" else ""
        say(f"  {service.name:9} ready {extra:10} {service.log}")

    return f"{url}/enter/{token}/" if token else ""


def welcome(url: str, enter: str) -> None:
    say(f"\nTrialdeck is at {url}/ (Ctrl-C ends it)")
    if enter:
        say(
            f"Sign in as the owner, once, within 24 hours: {enter}\n"
            "(trialdeck manage changepassword owner sets a password for later)"
        )


def leave_note(url: str, port: int, enter: str) -> Path | None:
    """For the Python package on this machine. A console without it is as good, from elsewhere."""
    try:
        return connection_file.write(url=url, port=port, data=settings.DATA, enter=enter)
    except (OSError, DatabaseError) as error:
        say(
            f"Programs on this machine will need a token, because no note could be left: {first_line(error)}."
        )
        return None
    finally:
        connections.close_all()


def make_workspace(slug: str) -> None:
    from experiments.models import Workspace
    from experiments.models.user import ensure_owner

    if not Workspace.objects.filter(slug=slug).exists():
        Workspace.open(slug, name=slug.capitalize(), owner=ensure_owner()[0])


def take(data: Path, *, address: str) -> TextIO:
    """Locks the data folder for this process; the open lock file. Refuses when another `up` has it."""
    path = data / "up.lock"
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        who = lock.read().strip() or "another process"
        refuse(
            f"The data folder {data} is in use by {who}. Stop that one, or choose another folder with --data."
        )
    lock.truncate(0)
    lock.write(f"the Trialdeck at {address} (process {os.getpid()})")
    lock.flush()
    return lock


def check_host(host: str) -> None:
    """Refuse what is not an IPv4 address; 0.0.0.0 stands for all addresses of this machine."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        refuse(f"--host must be an address such as 127.0.0.1 or 0.0.0.0, not {host!r}.")


def here(host: str) -> str:
    """Return the address at which this machine reaches what listens on `host`."""
    return HOST if host == "0.0.0.0" else host


def check_port(host: str, port: int) -> None:
    """Raises Failed when somebody listens there already, or it is not ours to use."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what granian does: TIME_WAIT is no obstacle
        try:
            probe.bind((host, port))
        except PermissionError:
            raise Failed(
                f"Port {port} needs rights that you do not have. Use PORT=8000 (--port 8000)."
            ) from None
        except OSError:
            raise Failed(f"Port {port} is taken. Use PORT={port + 1} (--port {port + 1}).") from None


def check_outside_broker() -> None:
    """Raises Failed when the broker that REDIS_URL names does not answer."""
    from kombu import Connection

    with Connection(
        settings.CELERY_BROKER_URL, connect_timeout=3, transport_options={"socket_timeout": 3}
    ) as outside:
        try:
            outside.default_channel.client.ping()
        except Exception as error:  # noqa: BLE001  whatever its transport raises: the broker cannot be used
            raise Failed(
                f"The broker {outside.as_uri()} (REDIS_URL) does not answer: {first_line(error)}."
            ) from error


def prepare_database() -> tuple[bool, str | None]:
    """Migrates; whether this is the first start; a sign-in token as long as the owner has never entered."""
    from experiments.models import SignInLink
    from experiments.models.user import ensure_owner

    try:
        if is_behind():
            call_command("migrate", interactive=False, verbosity=0)
        owner, is_first = ensure_owner()
    except DatabaseError as error:
        raise Failed(f"The database cannot be used: {first_line(error)}.") from error
    if is_first or (owner.last_login is None and not owner.has_usable_password()):
        return is_first, SignInLink.issue(owner, LINK_VALID_FOR)
    return is_first, None


def web(host: str, port: int, logs: Path) -> Service:
    argv = [*python(), "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)]
    argv += ["--workers", "1", "--blocking-threads", "4", "--no-ws", "--workers-kill-timeout", "1"]
    argv += ["console.wsgi:application"]
    return Service("web", argv, logs / "web.log", lambda: is_serving(here(host), port), grace_s=1.5)


def web_with_reload(host: str, port: int, logs: Path) -> Service:
    """Django's own server, which starts anew when a file changes."""
    argv = [*manage(), "runserver", f"{host}:{port}"]
    return Service("web", argv, logs / "web.log", lambda: is_serving(here(host), port), grace_s=1.5)


def worker(slots: int, data: Path, logs: Path) -> Service:
    argv = [*manage(), "worker", "--queue", "default", "--slots", str(slots), "--name", "local"]
    return _celery("worker", argv, data=data, logs=logs, grace_s=4.0)


def control(data: Path, logs: Path) -> Service:
    return _celery("control", [*manage(), "control"], data=data, logs=logs, grace_s=2.0)


def manage() -> list[str]:
    """Return the start of a command line that runs a management command."""
    return [*python(), *(["-m", "console"] if settings.IS_INSTALLED else ["manage.py"])]


def python() -> list[str]:
    """Return the start of a command line that runs Python.

    An installed console is imported from where it is installed, and not from the working directory or PYTHONPATH,
    where a package may be named as one of its own.
    """
    return [sys.executable, "-EPu"] if settings.IS_INSTALLED else [sys.executable]


def _celery(name: str, argv: list[str], *, data: Path, logs: Path, grace_s: float) -> Service:
    ready = data / f"{name}.ready"
    ready.unlink(missing_ok=True)
    return Service(
        name, argv, logs / f"{name}.log", ready.exists, grace_s, env={"TRIALDECK_READY": str(ready)}
    )


def is_serving(address: str, port: int) -> bool:
    """Whether the console answers on this port, its database included."""
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": HOST})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # nobody reads any more (`make up | head`): that is no reason to end
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
