#!/usr/bin/env python3
"""The management commands of a checkout: `python manage.py help` lists them. Installed: `trialdeck manage help`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any import that an old Python could stumble over
    version = "{}.{}".format(*sys.version_info[:2])
    sys.exit("Python 3.11 or newer is needed; this is " + version + ". Use: make up PYTHON=python3.11")

if __name__ == "__main__":
    try:
        from console.__main__ import main
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. Install what Trialdeck needs first: make up does it.")
    main(sys.argv)
