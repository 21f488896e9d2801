"""Stands in a trial's PYTHONPATH: Python runs it before the script. It does nothing until ClearML's package is
imported. Standard library only, Python 3.7 or later."""

import importlib.util
import sys
from importlib.machinery import PathFinder

_HERE = __file__.rpartition("/")[0]


class _Waiting:
    """Finds the package as Python would, and mends it as soon as it is there."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "clearml":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                import trialdeck_clearml

                trialdeck_clearml.mend(module)

            spec.loader.exec_module = exec_module
        return spec


def _run_the_hidden_one():
    """Python runs one sitecustomize only: without this one it would have been another's."""
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if entry != _HERE])
    if spec and spec.loader:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


sys.meta_path.insert(0, _Waiting)
_run_the_hidden_one()
