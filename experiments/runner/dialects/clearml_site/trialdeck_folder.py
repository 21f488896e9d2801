"""Create the folder of ClearML's package from the file that the worker left in its place: most scripts never need it.
Standard library only, Python 3.7 or later.
"""

import fcntl
import json
import os
import time

_PATIENCE_S = 30  # to wait for another process of the trial that is creating it


def unpack():
    """Create the folder unless it exists. Raise OSError when that fails."""
    path = os.environ.get("CLEARML_CACHE_DIR")
    if not path or not os.environ.get("CLEARML_CONFIG_FILE", "").startswith(path + "/"):
        return  # the script created a folder itself
    deadline = time.monotonic() + _PATIENCE_S
    while not os.path.isdir(path):
        try:
            with open(path, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:  # otherwise, another process has created it meanwhile
                    _replace(path, json.load(file))
        except (FileNotFoundError, IsADirectoryError):  # another process replaces it at this moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _replace(path, content):
    made = f"{path}.{os.getpid()}"
    os.mkdir(made)
    for name in content["folders"]:
        os.mkdir(os.path.join(made, name))
    for name, text in content["files"].items():
        with open(os.path.join(made, name), "w", encoding="utf-8") as file:
            file.write(text)
    os.unlink(path)
    os.rename(made, path)
