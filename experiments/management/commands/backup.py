"""`trialdeck backup`: write a checked copy of the installation into one file, while it runs."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from experiments.management import backup_file, database_rows
from experiments.management.arguments import add_data_argument, check_database_for_reading, refuse
from trialdeck import __version__


class Command(BaseCommand):
    help = "Write all rows and the secret key into one file, and check it. The console may run meanwhile."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", help="file to write, such as backup.zip; it may not exist"
        )
        parser.add_argument(
            "--with-files", action="store_true", help="also the folders of trials and workers on this machine"
        )
        add_data_argument(parser)

    def handle(self, *, file: str, with_files: bool, **_: object) -> None:
        path = Path(file).expanduser().absolute()
        if path.exists():
            refuse(f"{path} already exists. Choose another file.")
        check_database_for_reading()
        try:
            with database_rows.snapshot() as connection:
                manifest = backup_file.write(
                    path,
                    connection,
                    version=__version__,
                    keys=[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS],
                    data=settings.DATA if with_files else None,
                )
        except backup_file.BackupError as error:
            refuse(str(error))
        tables = manifest["tables"].values()
        self.stdout.write(
            f"{path}: {sum(table['rows'] for table in tables)} rows of {len(tables)} tables, "
            f"{len(manifest['files'])} files, and the secret key: keep it private."
        )
