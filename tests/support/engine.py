"""A container engine of the tests' own: podman with settings, storage and one image below a folder of theirs.

Nothing of the user's engine is touched, and no registry is asked: the image is a busybox, made from this machine's.
Its `python` is this machine's as well, seen through mounts that a trial has to ask for (`arguments_for_python`).

`ENGINE=docker` runs the same tests by the docker of this machine, which must have a daemon; its image is removed.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

IMAGE = "localhost/busybox:trials"
PROGRAM = os.environ.get("ENGINE", "podman")
_VENV = f"venv/lib/python{sysconfig.get_python_version()}/site-packages"


def arguments_for_python() -> str:
    """The arguments with which the image's python has what it needs of this machine."""
    prefix = Path(sys.base_prefix).resolve()
    folders = [Path(name) for name in ("/usr", "/lib", "/lib64") if Path(name).exists()]
    if not prefix.is_relative_to("/usr"):
        folders.append(prefix)
    return " ".join(f"-v {folder.resolve()}:{folder}:ro" for folder in [*folders, _pip()])


class EngineOfTests:
    """`env` is what makes podman use these settings and this storage."""

    def __init__(self, folder: Path) -> None:
        runtime = "runc" if shutil.which("runc") else "crun"
        # The machine's own limits, network and runtime may not be possible where tests run.
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "host"\n'
            f'[engine]\nruntime = "{runtime}"\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n'
            f'tmp_dir = "{folder}/tmp"\n'
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        self.env = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def run(self, *words: str, input: bytes = b"") -> str:
        """What it said. Raises CalledProcessError."""
        env = {**os.environ, **self.env}
        done = subprocess.run([PROGRAM, *words], env=env, input=input, capture_output=True, check=True)
        return done.stdout.decode()

    def containers(self) -> list[str]:
        """The names of all there are, in whatever state."""
        return self.run("ps", "--all", "--filter", "name=trialdeck-", "--format", "{{.Names}}").split()

    def load(self) -> None:
        self.run("import", "-", IMAGE, input=_image())

    def end(self) -> None:
        if left := self.containers():
            self.run("rm", "--force", *left)
        self.run("rmi", "--force", IMAGE)


@functools.cache
def find_engine() -> str:
    """Why no container can be run here, in a sentence; empty where one was."""
    if not shutil.which(PROGRAM):
        return f"{PROGRAM} is not installed"
    if not _busybox():
        return "busybox-static is not installed"
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as folder:
        engine = EngineOfTests(Path(folder))
        try:
            engine.load()
            engine.run("run", "--rm", IMAGE, "/bin/true")
            engine.end()
        except subprocess.CalledProcessError as failed:
            return f"{PROGRAM} cannot run a container: {failed.stderr.decode().strip()[-300:]}"
    return ""


def _busybox() -> str | None:
    return next((path for path in ("/bin/busybox", "/usr/bin/busybox") if Path(path).exists()), None)


def _image() -> bytes:
    """A root file system as a tar: busybox under the names that tests use, and a Python environment with pip only."""
    python = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}").resolve()
    links = {f"bin/{name}": "busybox" for name in ("sh", "sleep", "cat", "id", "true", "touch", "ls", "kill")}
    links |= {"venv/bin/python": str(python), f"{_VENV}/pip": str(_pip())}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(os.path.realpath(_busybox()), "bin/busybox")
        tar.addfile(_folder("tmp", 0o1777))
        _add(tar, "venv/pyvenv.cfg", f"home = {python.parent}\ninclude-system-site-packages = false\n")
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return out.getvalue()


def _folder(name: str, mode: int) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode = tarfile.DIRTYPE, mode
    return folder


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    file = tarfile.TarInfo(name)
    file.size = len(text)
    tar.addfile(file, io.BytesIO(text.encode()))


def _pip() -> Path:
    import pip

    return Path(pip.__file__).parent
