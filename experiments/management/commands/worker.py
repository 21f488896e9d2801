"""`trialdeck worker`: runs trials from queues, in this process, until SIGTERM or Ctrl-C."""

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
    default_slots,
    lease_s,
    refuse,
    whole_number,
)
from experiments.runner.cgroup import memory_mib as memory_here
from experiments.runner.container import ENGINES
from experiments.runner.memory_size import format_mebibytes, parse_mebibytes

MOST_CORE = 8191  # Linux's own limit
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Command(BaseCommand):
    help = "Runs trials from one or more queues, several at once, until SIGTERM or Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", action="append", default=[], help="a queue to serve; repeat it, in order of preference"
        )
        parser.add_argument("--slots", default=default_slots(), help="trials at once (default: one per core)")
        parser.add_argument("--name", default=socket.gethostname(), help="default: this machine's name")
        parser.add_argument(
            "--container", choices=ENGINES, default="", help="run every trial in a container, by this engine"
        )
        parser.add_argument(
            "--image", default="", help="with --container: for experiments that name no image of their own"
        )
        parser.add_argument(
            "--gpus",
            default="",
            help="devices to give to trials that ask for some: 0,1,2 or auto (nvidia-smi)",
        )
        parser.add_argument(
            "--cores",
            default="",
            help="cores to give to trials that ask for some: 0-3,6 (default: all that it may use)",
        )
        parser.add_argument(
            "--memory",
            default="",
            help="memory to give to trials that ask for some: 24GiB (default: all that it may use)",
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
        **_: object,
    ) -> None:
        slots = whole_number(slots, name="--slots", low=1, high=512)
        if not NAME.fullmatch(name):
            refuse(
                f"--name {name!r} cannot be used: letters, digits, dots, dashes and underscores, at most 63, "
                "beginning with a letter or digit."
            )
        if image and (not container or image.startswith("-")):
            refuse(
                "--image names the image that --container uses. Give --container docker or podman as well."
            )
        check_one_machine()
        check_database()
        names = list(dict.fromkeys(queue or ["default"]))
        lines = lines_of(names)
        start_worker(
            name,
            queues=names,
            slots=slots,
            container=container,
            image=image,
            gpus=devices(gpus),
            cores=cores_of(cores),
            memory_mib=memory_of(memory),
        )
        serve(f"{name}@{socket.gethostname()}", lines=[*lines, f"worker.{name}"], threads=slots)


def devices(said: str) -> list[int]:
    """`0,1,2`, or `auto`: all that nvidia-smi sees. Refuses anything else."""
    if not said:
        return []
    if said == "auto":
        from experiments.runner.machine import Machine

        found = Machine().measure().get("gpus", [])
        if not found:
            refuse("--gpus auto: nvidia-smi sees no GPU here. Give their numbers, or leave it out.")
        return list(range(len(found)))
    numbers = [whole_number(one.strip(), name="--gpus", low=0, high=1023) for one in said.split(",")]
    if len(set(numbers)) < len(numbers):
        refuse(f"--gpus {said}: a device is named twice.")
    return numbers


def cores_of(said: str) -> list[int] | None:
    """`0-3,6`; None for what was left out. Refuses anything else, and cores that this process may not use."""
    if not said:
        return None
    numbers: set[int] = set()
    for part in said.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        low = whole_number(first, name="--cores", low=0, high=MOST_CORE)
        numbers |= set(
            range(low, whole_number(last, name="--cores", low=low, high=MOST_CORE) + 1 if dash else low + 1)
        )
    if beyond := numbers - os.sched_getaffinity(0):
        refuse(f"--cores {said}: this process may not use {', '.join(map(str, sorted(beyond)))} here.")
    return sorted(numbers)


def memory_of(said: str) -> int | None:
    """`24GiB` in MiB; None for what was left out. Refuses anything else, and more than there is."""
    if not said:
        return None
    try:
        wanted = parse_mebibytes(said)
    except ValueError as error:
        refuse(f"--memory {said}: {error}")
    if wanted > (there := memory_here()):
        refuse(f"--memory {said}: there are {format_mebibytes(there)} that this process may use.")
    return wanted


def lines_of(names: list[str]) -> list[str]:
    """The broker's names of these queues, in order. Refuses an unknown one and names those that exist."""
    from experiments.models import ComputeEvent, Queue

    if "default" in names:
        Queue.default()
    known = {queue.name: queue.routing_key for queue in Queue.objects.all()}
    for name in names:
        if name in known:
            continue
        renamed = ComputeEvent.objects.filter(verb="rename", before=name).select_related("queue").first()
        if renamed and renamed.queue:
            refuse(
                f"The queue {name!r} is called {renamed.queue.name!r} now. Use: --queue {renamed.queue.name}"
            )
        refuse(
            f"There is no queue {name!r}; there are: {', '.join(sorted(known)) or 'none yet'}. "
            "An administrator makes queues on the console's page Queues."
        )
    return [known[name] for name in names]


def start_worker(
    name: str,
    *,
    queues: list[str],
    slots: int,
    container: str = "",
    image: str = "",
    gpus: Sequence[int] = (),
    cores: Sequence[int] | None = None,
    memory_mib: int | None = None,
) -> None:
    """Makes this process the trial worker `name`. Refuses when another process is it already."""
    from experiments import tasks
    from experiments.worker.worker import LocalWorker, Taken

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
            )
        )
    except Taken as error:
        refuse(str(error))


def serve(node: str, *, lines: list[str], threads: int) -> None:
    """Runs Celery's worker `node` on these lines in this process; ends the process with its exit code."""
    from kombu.transport.redis import Channel

    from console.celery import app

    # A message is a nudge, and a lost one costs a second. Where the broker dies while a message is in hand, kombu (5.6)
    # would give it back through the connection that it has just closed, and the AttributeError ends the process.
    Channel.do_restore = False
    worker = app.Worker(
        hostname=node,
        pool_cls="threads",
        concurrency=threads,
        queues=lines,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    raise SystemExit(worker.exitcode)
