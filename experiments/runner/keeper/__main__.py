"""Start the keeper: `python -I -S __main__.py <owner's pid>`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))  # last, to shadow no standard module
    from experiments.runner.keeper.supervisor import Keeper

    Keeper(owner=int(sys.argv[1])).serve()
