"""The time of `import trialdeck` in a trial: `python -m benchmarks.imports` (--python PROGRAM, --times 40, --json)."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "python": "pass",
    "import trialdeck": "import trialdeck",
    "… and Experiment": "from trialdeck import Experiment",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of a table")
    args = parser.parse_args()
    base = None
    for name, script in SCRIPTS.items():
        median = statistics.median(once(args.python, script) for _ in range(args.times))
        base = median if base is None else base
        if args.json:
            figures = {
                "script": script,
                "ms": round(median * 1000, 1),
                "more_ms": round((median - base) * 1000, 1),
            }
            print(json.dumps({"python": args.python, "times": args.times, **figures}))
            continue
        print(f"{name:20} {median * 1000:6.1f} ms   {(median - base) * 1000:+6.1f} ms")


def once(python: str, script: str) -> float:
    """Return the seconds from the process's start to its end."""
    began = time.perf_counter()
    subprocess.run([python, "-S", "-c", script], env={"PYTHONPATH": str(ROOT)}, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
