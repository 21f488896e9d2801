"""Makes the folder of ClearML's package of the file that the worker has left in its place, since most scripts never
need the folder. Standard library only, Python 3.7 or later.
"""

import fcntl
import json
import os
import time

_PATIENCE_S = 30  # for another process of the trial that is making it


def unpack():
    """Make the folder, unless it is there. Raise OSError where that is not possible."""
    path = os.environ.get("CLEARML_CACHE_DIR")
    if not path or not os.environ.get("CLEARML_CONFIG_FILE", "").startswith(path + "/"):
        return  # a folder of the script's own
    deadline = time.monotonic() + _PATIENCE_S
    while not os.path.isdir(path):
        try:
            with open(path, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:  # else another process has made it meanwhile
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
