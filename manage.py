#!/usr/bin/env python3
"""Trialdeck's command line: `python manage.py help` lists what it can do."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any import that an old Python could stumble over
    found = "{}.{}".format(*sys.version_info[:2])
    sys.exit("Python 3.11 or newer is needed; this is " + found + ". Use: make up PYTHON=python3.11")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. Install what Trialdeck needs first: make up does it.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
