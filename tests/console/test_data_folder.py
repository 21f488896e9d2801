"""The data folder is private to its user, whatever it was before. Real files, real processes."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from console import data_folder
from tests.support import processes
from tests.support.processes import manage


def modes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


@pytest.fixture
def opened(fresh, tmp_path) -> Path:
    """A data folder as an earlier version left it under the umask 022, and a file elsewhere to which it has a link."""
    data = Path(fresh["TRIALDECK_DATA"])
    data.chmod(0o755)
    before = os.umask(0o022)
    try:
        for name in ("db.sqlite3", "log/web.log", "trials/7f3k2m9q/1/output/model.pt", "workers/local/lock"):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_text("")
        (data / "broker").mkdir()
        (tmp_path / "mine").write_text("mine")
    finally:
        os.umask(before)
    (tmp_path / "mine").chmod(0o644)
    (data / "trials" / "link").symlink_to(tmp_path / "mine")
    os.mkfifo(data / "broker" / "pipe")
    here = os.getcwd()
    os.chdir(data / "broker")  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("old.sock")
    os.chdir(here)
    return data


def test_an_open_data_folder_is_closed_with_all_in_it(fresh, opened, tmp_path):
    """TD-Z3: database, logs, sockets, outputs; said once; the file behind a link is left alone."""
    assert any(mode & 0o077 for mode in modes(opened).values())
    first = manage("check", env=fresh)
    assert first.returncode == 0, first.stderr
    assert f"The data folder {opened} was open to other users (mode 755) and is private now" in first.stderr
    assert stat.S_IMODE(opened.stat().st_mode) == 0o700
    assert {name: oct(mode) for name, mode in modes(opened).items() if mode & 0o077} == {}
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o644
    assert "open to other users" not in manage("check", env=fresh).stderr


def test_a_folder_with_other_files_is_refused_instead_of_closed(fresh):
    """TD-Z3: `--data /tmp` must not lock everybody out of /tmp."""
    data = Path(fresh["TRIALDECK_DATA"])
    (data / "of somebody else").write_text("")
    data.chmod(0o777)
    done = manage("check", env=fresh)
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert f"The folder {data} is open to other users (mode 777)" in done.stderr
    assert f"chmod 700 {data}" in done.stderr
    assert stat.S_IMODE(data.stat().st_mode) == 0o777 and not (data / "secret").exists()


@pytest.mark.parametrize("left", ["", "lost+found"])
def test_an_empty_folder_is_taken(fresh, left):
    """TD-Z3: as a package or a new volume makes it."""
    data = Path(fresh["TRIALDECK_DATA"])
    if left:
        (data / left).mkdir()
    data.chmod(0o775)
    assert manage("check", env=fresh).returncode == 0
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    """TD-Z3: its owner could read all that is put there."""
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(
        data_folder.NotPrivate, match=r"belongs to another user \(uid \d+\)\. Start Trialdeck as"
    ):
        data_folder.prepare(tmp_path)


def test_nobody_else_reads_anything_of_a_running_console(fresh, opened):
    """TD-Z3: database, secret, sockets and logs that it makes, under whatever umask it was started."""
    with processes.Console({**fresh}, "--no-demo") as console:
        console.says(r"Trialdeck is at http://127\.0\.0\.1:\d+/", within=180)
        assert {name: oct(mode) for name, mode in modes(opened).items() if mode & 0o077} == {}
        assert {"secret", "db.sqlite3", "broker", "log"} <= {path.name for path in opened.iterdir()}
        if os.geteuid() == 0:
            as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", "cat", str(opened / "secret")]
            done = subprocess.run(as_nobody, capture_output=True, text=True)
            assert done.returncode != 0 and "Permission denied" in done.stderr


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_a_trial_has_the_umask_of_the_person_who_started_the_console(fresh, umask):
    """TD-Z3: what a script writes to a shared folder stays as readable as from a shell."""
    code = (
        "import os, django; django.setup(); from django.conf import settings; "
        "print(f'{settings.TRIAL_UMASK:03o} {os.umask(0):03o}')"
    )
    env = {**fresh, "DJANGO_SETTINGS_MODULE": "console.settings"}
    env.pop(data_folder.UMASK_NAME, None)
    done = subprocess.run([sys.executable, "-c", code], env=env, umask=umask, capture_output=True, text=True)
    assert done.stdout == f"{umask:03o} 077\n", done.stderr
