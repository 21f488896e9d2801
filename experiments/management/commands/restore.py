"""`trialdeck restore`: fill an empty installation from a backup."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from experiments.management import restore_backup
from experiments.management.arguments import add_data_argument, first_line, refuse
from experiments.management.backup_file import Backup, BackupError
from experiments.management.running_processes import locked_folder


class Command(BaseCommand):
    help = "Restore a backup into an empty installation: a new data folder, or an empty PostgreSQL database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="file that `backup` has written")
        add_data_argument(parser)

    def handle(self, *, file: str, **_: object) -> None:
        try:
            with Backup(Path(file).expanduser().absolute()) as backup, locked_folder(settings.DATA):
                restore_backup.restore(backup, settings.DATA, connection)
        except BackupError as error:
            refuse(str(error))
        except OSError as error:
            refuse(f"The backup cannot be restored: {error.strerror or error}. Nothing was changed.")
        except DatabaseError as error:
            refuse(f"The backup cannot be restored: {first_line(error)}. Nothing was changed.")
        call_command("migrate", interactive=False, verbosity=0)  # from the version of the backup to this one
        self.stdout.write(f"Restored and checked: {restore_backup.count(backup)}. Start it as before.")
