"""`trialdeck worker`: run trials from queues in this process until SIGTERM or Ctrl-C."""

import os
import re
import socket
from collections.abc import Sequence

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from experiments.management.arguments import (
    add_data_argument,
    check_database,
    check_one_machine,
    check_writable,
    default_slots,
    lease_s,
    refuse,
    whole_number,
)
from experiments.management.process_secrecy import hide_process
from experiments.runner.cgroup import memory_mib as available_memory_mib
from experiments.runner.container import ENGINES
from experiments.runner.memory_size import format_mebibytes, parse_mebibytes

DRAIN_S = 60  # below the 90 s after which systemd kills a service by default
MAX_DRAIN_S = 7 * 24 * 3600
MAX_CORE = 8191  # the limit of Linux
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Command(BaseCommand):
    help = "Run trials from one or more queues in parallel until SIGTERM or Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue",
            action="append",
            default=[],
            help="queue to serve; repeat for more, in order of preference",
        )
        parser.add_argument(
            "--slots", default=default_slots(), help="parallel trials (default: one per core)"
        )
        parser.add_argument(
            "--name", default=socket.gethostname(), help="name of the worker (default: the hostname)"
        )
        parser.add_argument(
            "--container", choices=ENGINES, default="", help="run every trial in a container with this engine"
        )
        parser.add_argument(
            "--image", default="", help="with --container: default image for experiments without one"
        )
        parser.add_argument(
            "--gpus",
            default="",
            help="GPUs that trials can reserve: 0,1,2 or auto (all that nvidia-smi lists)",
        )
        parser.add_argument(
            "--cores", default="", help="cores that trials can reserve: 0-3,6 (default: all available)"
        )
        parser.add_argument(
            "--memory", default="", help="memory that trials can reserve: 24GiB (default: all available)"
        )
        parser.add_argument(
            "--run-as",
            default=os.environ.get("TRIALDECK_RUN_AS", ""),
            metavar="USER",
            help="account for trials, so that they reach neither database, secrets nor each other; needs root. "
            "Separate several by commas: one for each running trial. {workspace} becomes the workspace's slug: "
            "td-{workspace} (default: TRIALDECK_RUN_AS, else the worker's own user)",
        )
        parser.add_argument(
            "--sandbox",
            default=os.environ.get("TRIALDECK_SANDBOX", ""),
            metavar="bubblewrap",
            help="run every trial in a sandbox of bubblewrap: the system is read-only, /tmp is its own, only its own "
            "folder is writable (default: TRIALDECK_SANDBOX, else none)",
        )
        parser.add_argument(
            "--no-network",
            action="store_true",
            help="with --sandbox: trials reach no network, not even this machine",
        )
        parser.add_argument(
            "--drain",
            default=os.environ.get("TRIALDECK_DRAIN_S", DRAIN_S),
            metavar="SECONDS",
            help=f"time for running trials to finish after SIGTERM or Ctrl-C, from 0; then they are stopped and "
            f"retried elsewhere. A second signal stops them immediately (default: TRIALDECK_DRAIN_S, else {DRAIN_S})",
        )
        add_data_argument(parser)

    def handle(
        self,
        *,
        queue: list[str],
        slots: str | int,
        name: str,
        container: str,
        image: str,
        gpus: str,
        cores: str,
        memory: str,
        drain: str | int,
        run_as: str,
        sandbox: str,
        no_network: bool,
        **_: object,
    ) -> None:
        hide_process()
        slots = whole_number(slots, name="--slots", low=1, high=512)
        if not NAME.fullmatch(name):
            refuse(
                f"--name {name!r} is invalid. Use up to 63 letters, digits, dots, dashes and underscores, starting "
                "with a letter or digit."
            )
        if image and (not container or image.startswith("-")):
            refuse("--image requires --container. Add --container docker or --container podman.")
        if sandbox not in ("", "bubblewrap"):
            refuse(f"--sandbox must be bubblewrap, not {sandbox!r}.")
        if no_network and not sandbox:
            refuse("--no-network requires --sandbox bubblewrap.")
        if container and (run_as or sandbox):
            refuse(
                "--container is a boundary of its own: omit --run-as and --sandbox (TRIALDECK_RUN_AS, "
                "TRIALDECK_SANDBOX)."
            )
        drain_s = whole_number(drain, name="--drain (TRIALDECK_DRAIN_S)", low=0, high=MAX_DRAIN_S)
        check_one_machine()
        check_writable(settings.DATA)
        check_database()
        names = list(dict.fromkeys(queue or ["default"]))
        routing_keys = routing_keys_of(names)
        start_worker(
            name,
            queues=names,
            routing_keys=routing_keys,
            slots=slots,
            container=container,
            image=image,
            gpus=devices(gpus),
            cores=cores_of(cores),
            memory_mib=memory_of(memory),
            drain_s=drain_s,
            run_as=run_as.strip(),
            sandbox=sandbox,
            network=not no_network,
        )
        serve(f"{name}@{socket.gethostname()}", queues=routing_keys, threads=slots)


def devices(text: str) -> list[int]:
    """Return the device numbers of `0,1,2`, or of `auto` (all that nvidia-smi lists). Exit when invalid."""
    if not text:
        return []
    if text == "auto":
        from experiments.runner.machine import Machine

        gpus = Machine().measure().get("gpus", [])
        if not gpus:
            refuse("--gpus auto: nvidia-smi found no GPU. Enter their numbers, or omit --gpus.")
        return list(range(len(gpus)))
    numbers = [whole_number(number.strip(), name="--gpus", low=0, high=1023) for number in text.split(",")]
    if len(set(numbers)) < len(numbers):
        refuse(f"--gpus {text}: a device is listed twice.")
    return numbers


def cores_of(text: str) -> list[int] | None:
    """Return the core numbers of `0-3,6`; None for "". Exit when invalid, or when this process may not use a core."""
    if not text:
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = (side.strip() for side in part.partition("-"))
        low = whole_number(first, name="--cores", low=0, high=MAX_CORE)
        numbers |= set(
            range(low, whole_number(last, name="--cores", low=low, high=MAX_CORE) + 1 if dash else low + 1)
        )
    if unavailable := numbers - os.sched_getaffinity(0):
        refuse(f"--cores {text}: not available to this process: {', '.join(map(str, sorted(unavailable)))}.")
    return sorted(numbers)


def memory_of(text: str) -> int | None:
    """Return a size such as `24GiB` in MiB; None for "". Exit when invalid, or more than the available memory."""
    if not text:
        return None
    try:
        memory_mib = parse_mebibytes(text)
    except ValueError as error:
        refuse(f"--memory {text}: {error}")
    if memory_mib > (available := available_memory_mib()):
        refuse(f"--memory {text}: only {format_mebibytes(available)} are available to this process.")
    return memory_mib


def routing_keys_of(names: list[str]) -> list[str]:
    """Return the routing keys of these queues, in order. Exit when a queue does not exist."""
    from experiments.models import ComputeEvent, Queue

    if "default" in names:
        Queue.default()
    by_name = {queue.name: queue.routing_key for queue in Queue.objects.all()}
    for name in names:
        if name in by_name:
            continue
        renamed = ComputeEvent.objects.filter(verb="rename", before=name).select_related("queue").first()
        if renamed and renamed.queue:
            refuse(
                f"The queue {name!r} was renamed to {renamed.queue.name!r}. Use: --queue {renamed.queue.name}"
            )
        refuse(
            f"There is no queue {name!r}; queues: {', '.join(sorted(by_name)) or 'none yet'}. "
            "An administrator can create it on the Queues page."
        )
    return [by_name[name] for name in names]


def start_worker(
    name: str,
    *,
    queues: list[str],
    routing_keys: Sequence[str],
    slots: int,
    container: str = "",
    image: str = "",
    gpus: Sequence[int] = (),
    cores: Sequence[int] | None = None,
    memory_mib: int | None = None,
    drain_s: float = 0,
    run_as: str = "",
    sandbox: str = "",
    network: bool = True,
) -> None:
    """Make this process the worker `name`. Exit when another process already is, or when the boundary around trials
    cannot be kept on this machine. `drain_s`: see --drain."""
    from experiments import tasks
    from experiments.runner.boundary import BoundaryError
    from experiments.worker.errors import CannotRun
    from experiments.worker.worker import LocalWorker

    try:
        tasks.serve(
            LocalWorker(
                name=name,
                queues=queues,
                slots=slots,
                data=settings.DATA,
                lease_s=lease_s(),
                container=container,
                image=image,
                gpus=gpus,
                cores=cores,
                memory_mib=memory_mib,
                run_as=run_as,
                sandbox=sandbox,
                network=network,
            ),
            routing_keys=routing_keys,
            drain_s=drain_s,
        )
    except (CannotRun, BoundaryError) as error:
        refuse(str(error))


def serve(node: str, *, queues: list[str], threads: int) -> None:
    """Run the Celery worker `node` for these broker queues in this process, and exit with its exit code."""
    from console.celery import app, outlive_the_broker

    outlive_the_broker()
    worker = app.Worker(
        hostname=node,
        pool_cls="threads",
        concurrency=threads,
        queues=queues,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,  # events for monitors of Celery; our own heartbeat is in the database
        quiet=True,
    )
    worker.start()
    from experiments import tasks

    tasks.wait_until_ended()
    if why := tasks.why_ended():
        refuse(why)
    raise SystemExit(worker.exitcode)
