"""Patch ClearML's package when a script imports it. In a trial's PYTHONPATH, so that Python runs this before the
script. Standard library only, Python 3.7 or later."""

import sys
from importlib.machinery import PathFinder  # not importlib.util: that takes as long as Python's own start

_FOLDER = __file__.rpartition("/")[0]


class _PatchingFinder:
    """Finds the package as Python would, and patches it once it is imported."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "clearml":
            return None
        sys.meta_path.remove(cls)
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec and spec.loader:
            run = spec.loader.exec_module

            def exec_module(module):
                import trialdeck_folder

                trialdeck_folder.unpack()
                run(module)
                import trialdeck_clearml

                trialdeck_clearml.patch(module)

            spec.loader.exec_module = exec_module
        return spec


def _run_shadowed_sitecustomize():
    """Run the sitecustomize that this module shadows, because Python runs only the first."""
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if entry != _FOLDER])
    if spec and spec.loader:
        from importlib.util import module_from_spec

        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


sys.meta_path.insert(0, _PatchingFinder)
_run_shadowed_sitecustomize()
