from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from experiments.runner.work_folder import sweep, work_folder
from tests.support.processes import ROOT
from tests.support.waiting import eventually

USER = """\
import sys, time
from pathlib import Path
from experiments.runner.work_folder import work_folder
with work_folder(Path(sys.argv[1]), "work-") as folder:
    (folder / "file").touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    """TD-S2."""
    (tmp_path / "work-file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "work-link").symlink_to(tmp_path / "other")
    with subprocess.Popen([sys.executable, "-c", USER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as user:
        assert user.stdout
        try:
            assert user.stdout.readline() == b"ready\n"
            (in_use,) = tmp_path.glob("work-*/file")
            sweep(tmp_path, "work-")
            with work_folder(tmp_path, "work-") as folder:
                assert folder.is_dir() and in_use.exists()
            assert in_use.exists() and not folder.exists()
        finally:
            user.kill()
    eventually(lambda: sweep(tmp_path, "work-") or not in_use.exists(), what="the removal of its folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "work-file", "work-link"]


def test_a_folder_that_does_not_exist_yet_has_nothing_to_sweep(tmp_path: Path) -> None:
    sweep(tmp_path / "data", "work-")
