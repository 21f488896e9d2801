"""`trialdeck up`: run the whole console on one machine, in the foreground, until Ctrl-C."""

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

HOST = "127.0.0.1"
LINK_VALID_FOR = timedelta(hours=24)
END_ORDER = ["web", "worker", "control", "broker"]


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
        url = f"http://{host_in_url(host)}:{port}"
        check_writable(settings.DATA)
        lock = take(settings.DATA, address=f"{url}/")
        supervisor = Supervisor(
            folder=settings.DATA if settings.IS_INSTALLED else settings.ROOT,
            env={**os.environ, "TRIALDECK_DATA": str(settings.DATA), "PYTHONUNBUFFERED": "1"},
            installation="up-" + hashlib.sha256(os.fsencode(settings.DATA)).hexdigest()[:16],
            say=say,
        )
        supervisor.obey_signals()
        connection = None
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
            connection = write_connection_file(url, port, enter)
            welcome(url, enter)
            supervisor.watch()
        except Stopped:
            say("\nStopping: web, worker, control, broker.")
            problem = None
        except (Failed, broker.BrokerError) as error:
            problem = str(error)
        finally:
            if connection:
                connection_file.remove(connection)
            supervisor.end(END_ORDER)
            lock.truncate(0)
            lock.close()
        if problem:
            refuse(problem)
        say("Stopped. Experiments continue at the next start.")


def bring_up(
    supervisor: Supervisor, web: Service, *, url: str, slots: int, wants_demo: bool, workspace: str | None
) -> str:
    """Start everything in order, and return when the console is ready.

    Return the URL that signs the owner in, or "".
    """
    data = settings.DATA
    logs = data / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    say(f"Trialdeck, data in {data}")

    if os.environ.get("REDIS_URL"):
        check_outside_broker()
        say(f"  {'broker':9} external (REDIS_URL)")
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
    if is_first:
        ensure_workspace()
    connections.close_all()

    services = [web, worker(slots, data, logs), control(data, logs)]
    supervisor.start(*services)
    for service in services:
        supervisor.wait_until_ready(service)
        extra = f"{slots} slot{'s' * (slots > 1)}" if service.name == "worker" else ""
        say(f"  {service.name:9} ready {extra:10} {service.log}")

    return f"{url}/enter/{token}/" if token else ""


def welcome(url: str, enter: str) -> None:
    say(f"\nTrialdeck is at {url}/ (press Ctrl-C to stop)")
    if enter:
        say(
            f"Sign in as the owner with this one-time link, valid for 24 hours: {enter}\n"
            "(To set a password: trialdeck manage changepassword owner)"
        )


def write_connection_file(url: str, port: int, enter: str) -> Path | None:
    """Write the connection file for the Python package on this machine. The console works without it."""
    try:
        return connection_file.write(url=url, port=port, data=settings.DATA, enter=enter)
    except (OSError, DatabaseError) as error:
        say(
            f"The connection file could not be written: {first_line(error)}. Scripts on this machine need an API token."
        )
        return None
    finally:
        connections.close_all()


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


def host_in_url(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on `host`."""
    return HOST if host == "0.0.0.0" else host


def check_port(host: str, port: int) -> None:
    """Raise Failed when the port is in use or privileged."""
    with socket.socket() as probe:
        # As granian does, so that connections in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise Failed(f"Permission denied for port {port}. Use PORT=8000 (--port 8000).") from None
        except OSError:
            raise Failed(f"Port {port} is in use. Use PORT={port + 1} (--port {port + 1}).") from None


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


def web(host: str, port: int, logs: Path) -> Service:
    argv = [*python(), "-m", "granian", "--host", host, "--port", str(port), "--workers", "1", "--no-ws"]
    argv += ["--workers-kill-timeout", "1", "--interface"]
    if settings.TRUSTED_PROXIES:  # whose headers a client must not spell in another way: see console/rsgi.py
        argv += ["rsgi", "console.rsgi:application"]
    else:
        argv += ["wsgi", "--blocking-threads", "4", "console.wsgi:application"]
    return Service("web", argv, logs / "web.log", lambda: is_serving(host_in_url(host), port), grace_s=1.5)


def web_with_reload(host: str, port: int, logs: Path) -> Service:
    """Django's development server, which restarts when a file changes."""
    argv = [*manage(), "runserver", f"{host}:{port}"]
    return Service("web", argv, logs / "web.log", lambda: is_serving(host_in_url(host), port), grace_s=1.5)


def worker(slots: int, data: Path, logs: Path) -> Service:
    argv = [*manage(), "worker", "--queue", "default", "--slots", str(slots), "--name", "local"]
    argv += ["--drain", "0"]  # Ctrl-C ends everything within 5 s
    return _celery("worker", argv, data=data, logs=logs, grace_s=4.0)


def control(data: Path, logs: Path) -> Service:
    return _celery("control", [*manage(), "control"], data=data, logs=logs, grace_s=2.0)


def manage() -> list[str]:
    """Return the start of a command line that runs a management command."""
    return [*python(), *(["-m", "console"] if settings.IS_INSTALLED else ["manage.py"])]


def python() -> list[str]:
    """Return the start of a command line that runs Python.

    An installed console must be imported from its installation, not from the working directory or PYTHONPATH, which
    may contain a package with the same name.
    """
    return [sys.executable, "-EPu"] if settings.IS_INSTALLED else [sys.executable]


def _celery(name: str, argv: list[str], *, data: Path, logs: Path, grace_s: float) -> Service:
    ready = data / f"{name}.ready"
    ready.unlink(missing_ok=True)
    return Service(
        name, argv, logs / f"{name}.log", ready.exists, grace_s, env={"TRIALDECK_READY": str(ready)}
    )


def is_serving(address: str, port: int) -> bool:
    """Return whether the console responds on this port, including its database. A full disk does not keep it from
    starting: its pages say so."""
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": HOST})
        response = connection.getresponse()
        return response.status in (200, 503) and b"database" not in response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say(message: str) -> None:
    try:
        print(message, flush=True)
    except OSError:  # the reader has closed the pipe (`make up | head`): continue without output
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
