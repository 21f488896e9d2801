"""`python -m console COMMAND …`: the management commands of an installed Trialdeck, as manage.py in a checkout."""

from __future__ import annotations

import json
import os
import sys

# Commands available as `trialdeck NAME`; any other command is `trialdeck manage NAME`.
OWN = ("up", "worker", "control", "demo", "token", "backup", "restore", "move-to-postgres")
# Commands with the option --data.
WITH_DATA = "up", "worker", "control", "backup", "restore", "move-to-postgres"


def main(argv: list[str]) -> None:
    """Run one management command; `argv` as in sys.argv. Errors that users can fix are printed as one message."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    plan = os.environ.pop("TRIALDECK_UP", "")  # from `up` itself, before it became the supervisor
    if plan.startswith("{") and argv[1:2] == ["up"]:
        from console.one_machine import Plan, supervise

        supervise(Plan(**json.loads(plan)))
        return
    data_by = "--data" if obey_data_option(argv) else "TRIALDECK_DATA"
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError

    try:
        execute_from_command_line(_with_module_name(argv))
    except ImproperlyConfigured as error:
        sys.exit(str(error).replace("TRIALDECK_DATA", data_by))
    except (OperationalError, ProgrammingError) as error:  # such as an empty database
        from django.conf import settings

        if settings.DEBUG:
            raise
        message = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        sys.exit(
            f"Database error: {message}. The data folder is {settings.DATA}; set another one with {data_by} (or "
            "DATABASE_URL), or create the missing tables: trialdeck manage migrate"
        )


def _with_module_name(argv: list[str]) -> list[str]:
    """Return `argv` with `move-to-postgres` replaced by the module name that Django requires."""
    return [word.replace("-", "_") if place == 1 and word in OWN else word for place, word in enumerate(argv)]


def obey_data_option(argv: list[str]) -> bool:
    """Set TRIALDECK_DATA from --data of a command that has the option, before the settings read it.

    Return whether the option was given.
    """
    if not set(argv[1:2]) & set(WITH_DATA):
        return False
    data = None
    for option, value in zip(argv, [*argv[1:], ""], strict=True):
        if option == "--data" and value:
            data = value
        elif option.startswith("--data="):
            data = option.removeprefix("--data=")
    if data is not None:
        os.environ["TRIALDECK_DATA"] = data
    return data is not None


if __name__ == "__main__":
    program = "trialdeck" if sys.argv[1:2] and sys.argv[1] in OWN else "trialdeck manage"
    main([program, *sys.argv[1:]])
