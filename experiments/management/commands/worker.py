"""`manage.py worker`: runs trials from queues, in this process, until SIGTERM or Ctrl-C."""

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
from experiments.runner.container import ENGINES

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
        start_worker(name, queues=names, slots=slots, container=container, image=image, gpus=devices(gpus))
        serve(f"{name}@{socket.gethostname()}", lines=[*lines, f"worker.{name}"], threads=slots)


def devices(said: str) -> list[int]:
    """`0,1,2`, or `auto`: all that nvidia-smi sees. Refuses anything else."""
    if not said:
        return []
    if said == "auto":
        from experiments.runner.machine import Machine

        found = Machine().look().get("gpus", [])
        if not found:
            refuse("--gpus auto: nvidia-smi sees no GPU here. Give their numbers, or leave it out.")
        return list(range(len(found)))
    numbers = [whole_number(one.strip(), name="--gpus", low=0, high=1023) for one in said.split(",")]
    if len(set(numbers)) < len(numbers):
        refuse(f"--gpus {said}: a device is named twice.")
    return numbers


def lines_of(names: list[str]) -> list[str]:
    """The broker's names of these queues, in order. Refuses an unknown one and names those that exist."""
    from experiments.models import ComputeEvent, Queue

    if "default" in names:
        Queue.default()
    known = {queue.name: queue.line for queue in Queue.objects.all()}
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
) -> None:
    """Makes this process the trial worker `name`. Refuses when another process is it already."""
    from experiments import tasks
    from experiments.launch import LocalWorker, Taken

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
            )
        )
    except Taken as error:
        refuse(str(error))


def serve(node: str, *, lines: list[str], threads: int) -> None:
    """Runs Celery's worker `node` on these lines in this process; ends the process with its exit code."""
    from console.celery import app

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
