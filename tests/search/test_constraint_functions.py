"""Where the search stands: at the bottom, light to import."""

import subprocess
import sys


def test_it_stands_on_floor_one_and_imports_optuna_only_when_asked():
    """Pages read the tables of algorithms: they must not carry Optuna's weight, nor the search Django's."""
    program = (
        "import sys, experiments.search.engine, experiments.search.early_stopping;"
        "print(sorted({'django', 'optuna', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
