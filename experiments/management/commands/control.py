"""`trialdeck control`: schedule experiments and run periodic tasks. Several may run; a lease elects the active one."""

import socket

from django.core.management.base import BaseCommand, CommandParser

from experiments.management.arguments import add_data_argument, check_database, check_one_machine
from experiments.management.commands.worker import serve
from experiments.management.process_secrecy import hide_process

THREADS = 4


class Command(BaseCommand):
    help = (
        "Schedule experiments: propose trials, apply early stopping, detect lost workers. "
        "Runs until SIGTERM or Ctrl-C."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_data_argument(parser)

    def handle(self, **_: object) -> None:
        hide_process()
        check_one_machine()
        check_database()
        from experiments import tasks

        tasks.keep_beat()
        serve(f"control@{socket.gethostname()}", queues=["control"], threads=THREADS)
