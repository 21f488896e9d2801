#!/usr/bin/env python3
"""Trialdeck's command line: `python manage.py help` lists what it can do."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any import that an old Python could stumble over
    found = "{}.{}".format(*sys.version_info[:2])
    sys.exit("Python 3.11 or newer is needed; this is " + found + ". Use: make up PYTHON=python3.11")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    data_by = "--data" if obey_data_option(sys.argv) else "TRIALDECK_DATA"
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError, ProgrammingError
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. Install what Trialdeck needs first: make up does it.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error).replace("TRIALDECK_DATA", data_by))
    except (OperationalError, ProgrammingError) as error:  # another folder's database, or none yet
        from django.conf import settings

        if settings.DEBUG:
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        sys.exit(
            f"The database does not answer this: {said}. It belongs to the data folder {settings.DATA}; name another "
            f"one with {data_by} (or DATABASE_URL), or make what is missing: manage.py migrate"
        )


def obey_data_option(argv: list[str]) -> bool:
    """--data of `up`, `worker` and `control`: read before the settings are, because they need it. False without it."""
    if argv[1:2] not in (["up"], ["worker"], ["control"]):
        return False
    told = None
    for option, value in zip(argv, [*argv[1:], ""], strict=True):
        if option == "--data" and value:
            told = value
        elif option.startswith("--data="):
            told = option.removeprefix("--data=")
    if told is not None:
        os.environ["TRIALDECK_DATA"] = told
    return told is not None


if __name__ == "__main__":
    main()
