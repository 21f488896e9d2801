"""Build hook of the console's wheel."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Top-level folders that the wheel carries inside the package `console`.
INSIDE = {
    "templates": "console/templates",
    "static": "console/static",
    "examples/digits": "console/examples/digits",
}


class ResourcesHook(BuildHookInterface):
    """Map the folders into the wheel; make the folder that an editable install puts on the path.

    That folder has a link to `trialdeck` and nothing else: with the checkout itself on the path, every trial run by
    the same Python could import its tests and its other packages. `trialdeck` runs them through manage.py.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"].update(INSIDE)
            return
        link = Path(self.root, "build", "editable", "trialdeck")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("../../trialdeck", target_is_directory=True)
