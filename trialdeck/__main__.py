"""`python -m trialdeck`: the command line."""

import sys

from trialdeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
