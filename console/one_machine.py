"""The processes of a console on one machine, and what `up` becomes to supervise them.

`up` needs Django only until the database is prepared. It forks a process for that (experiments/management/commands/
up.py) and runs itself anew without Django, which takes a tenth of the memory. Nothing here imports Django or Celery.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from console import connection_file
from console.supervisor import Failed, Service, Stopped, Supervisor
from experiments import broker

HOST = "127.0.0.1"
PLAN = "TRIALDECK_UP"  # the environment variable that passes the plan to the new program
END_ORDER = ["web", "worker", "control", "broker"]


@dataclass(frozen=True)
class Plan:
    """What to run. Three are descriptors: `lock` is the locked file of the data folder, a byte to `start` lets the
    process `preparing` prepare the database, and its result can be read from `prepared`."""

    host: str
    port: int
    slots: int
    data: str
    folder: str  # in which the services run
    installation: str
    python: list[str]  # the start of a command line that runs Python
    manage: list[str]  # the same for a management command
    broker: list[str]  # its command line; empty if it is elsewhere
    has_proxies: bool
    reloads: bool
    lock: int
    preparing: int
    start: int
    prepared: int

    @property
    def url(self) -> str:
        return f"http://{host_in_url(self.host)}:{self.port}"


@dataclass(frozen=True)
class Prepared:
    """The result of preparing the database. `problem`: why it cannot be used, as a sentence. `enter`: the token of a
    sign-in link. `token`: an API token for scripts of this user, "" if it could not be created."""

    problem: str = ""
    enter: str = ""
    token: str = ""


def become_supervisor(plan: Plan, argv: list[str]) -> NoReturn:
    """Replace this process's program, which keeps its PID. It is called like before: `argv` are the arguments."""
    for descriptor in (plan.lock, plan.start, plan.prepared):
        os.set_inheritable(descriptor, True)
    command = [*plan.manage, *argv]
    sys.stdout.flush()
    os.chdir(plan.folder)
    os.execve(command[0], command, {**os.environ, PLAN: json.dumps(asdict(plan))})


def supervise(plan: Plan) -> None:
    """Run everything until a signal or a failure. Exit with status 1 and a message if there is a problem."""
    for descriptor in (plan.lock, plan.start, plan.prepared):
        os.set_inheritable(descriptor, False)
    supervisor = Supervisor(
        folder=Path(plan.folder),
        env={**os.environ, "TRIALDECK_DATA": plan.data, "PYTHONUNBUFFERED": "1"},
        installation=plan.installation,
        say=say,
    )
    supervisor.obey_signals()
    connection = None
    problem = ""
    try:
        supervisor.sweep()
        check_port(plan.host, plan.port)
        prepared = _bring_up(supervisor, plan)
        connection = _write_connection_file(plan, prepared)
        _welcome(plan, prepared)
        supervisor.watch()
    except Stopped:
        say("\nStopping: web, worker, control, broker.")
    except Failed as failed:
        problem = str(failed)
    finally:
        if connection:
            connection_file.remove(connection)
        supervisor.end(END_ORDER)
        os.ftruncate(plan.lock, 0)
        os.close(plan.lock)
    if problem:
        sys.exit(problem)
    say("Stopped. Experiments continue at the next start.")


def _bring_up(supervisor: Supervisor, plan: Plan) -> Prepared:
    """Start everything in order, and return when the console is ready."""
    data, logs = Path(plan.data), Path(plan.data) / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    say(f"Trialdeck, data in {data}")

    if plan.broker:
        service = Service(
            "broker", plan.broker, logs / "broker.log", lambda: broker.is_answering(data), grace_s=1.0
        )
        supervisor.start(service)
        supervisor.wait_until_ready(service)
        say(f"  {'broker':9} ready            {service.log}")

    prepared = _prepare(plan)

    services = [_web(plan, logs), _worker(plan, logs), _control(plan, logs)]
    supervisor.start(*services)
    for service in services:
        supervisor.wait_until_ready(service)
        extra = f"{plan.slots} slot{'s' * (plan.slots > 1)}" if service.name == "worker" else ""
        say(f"  {service.name:9} ready {extra:10} {service.log}")
    return prepared


def _prepare(plan: Plan) -> Prepared:
    """Let the other process prepare the database, and wait for it. Raise Failed if it cannot be used."""
    os.write(plan.start, b"!")
    with open(plan.prepared, "rb") as pipe:  # noqa: PTH123
        result = pipe.read()
    os.close(plan.start)
    os.waitpid(plan.preparing, 0)
    if not result:  # it has printed why
        raise Failed("The database could not be prepared.")
    prepared = Prepared(**json.loads(result))
    if prepared.problem:
        raise Failed(prepared.problem)
    return prepared


def _write_connection_file(plan: Plan, prepared: Prepared) -> Path | None:
    """Write the connection file for the Python package on this machine. The console works without it."""
    if not prepared.token:
        return None
    link = _link(plan, prepared)
    try:
        return connection_file.write(
            url=plan.url, port=plan.port, data=Path(plan.data), enter=link, token=prepared.token
        )
    except OSError as error:
        say(f"The connection file could not be written: {error}. Scripts on this machine need an API token.")
        return None


def _welcome(plan: Plan, prepared: Prepared) -> None:
    say(f"\nTrialdeck is at {plan.url}/ (press Ctrl-C to stop)")
    if prepared.enter:
        say(
            "Sign in as the owner with this one-time link, valid for 24 hours: "
            f"{_link(plan, prepared)}\n(To set a password: trialdeck manage changepassword owner)"
        )


def _link(plan: Plan, prepared: Prepared) -> str:
    return f"{plan.url}/enter/{prepared.enter}/" if prepared.enter else ""


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


def _web(plan: Plan, logs: Path) -> Service:
    if plan.reloads:  # Django's development server, which restarts when a file changes
        argv = [*plan.manage, "runserver", f"{plan.host}:{plan.port}"]
    else:
        argv = [
            *plan.python,
            "-m",
            "granian",
            "--host",
            plan.host,
            "--port",
            str(plan.port),
            "--workers",
            "1",
        ]
        argv += ["--no-ws", "--workers-kill-timeout", "1", "--interface"]
        if plan.has_proxies:  # whose headers a client must not spell in another way: see console/rsgi.py
            argv += ["rsgi", "console.rsgi:application"]
        else:
            argv += ["wsgi", "--blocking-threads", "4", "console.wsgi:application"]
    address = host_in_url(plan.host)
    return Service("web", argv, logs / "web.log", lambda: is_serving(address, plan.port), grace_s=1.5)


def _worker(plan: Plan, logs: Path) -> Service:
    argv = [*plan.manage, "worker", "--queue", "default", "--slots", str(plan.slots), "--name", "local"]
    argv += ["--drain", "0"]  # Ctrl-C ends everything within 5 s
    return _celery("worker", argv, data=Path(plan.data), logs=logs, grace_s=4.0)


def _control(plan: Plan, logs: Path) -> Service:
    return _celery("control", [*plan.manage, "control"], data=Path(plan.data), logs=logs, grace_s=2.0)


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
    """Print a message. If the reader has closed the pipe (`make up | head`), continue without output."""
    try:
        print(message, flush=True)
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
