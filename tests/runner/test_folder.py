import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runner.shell_variables import inherited
from experiments.runner.trial_folder import OutsideFolder, TrialFolder, environment, inside, package_folder

ROOT = Path(__file__).parents[2]


def env(folder: TrialFolder, base: dict | None = None, user: dict | None = None) -> dict[str, str]:
    return environment(
        base=inherited(base or {}),
        folder=folder,
        experiment_id="7f3k2m9q",
        trial_id="7f3k2m9q-3",
        number=3,
        metric="accuracy",
        user=user or {},
    )


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd", ".", "", "a\0b"])
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    (tmp_path / "here").mkdir()
    with pytest.raises(OutsideFolder, match="is outside its folder"):
        inside(tmp_path / "here", name)


def test_no_link_leads_out_of_its_folder(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to("/etc")
    with pytest.raises(OutsideFolder):
        inside(tmp_path / "here", "link", "passwd")
    assert inside(tmp_path / "here", "a", "b.txt") == tmp_path / "here" / "a" / "b.txt"


@pytest.mark.parametrize("experiment_id", ["..", "a/b", "", ".package", "x" * 65, "a\n"])
def test_only_an_id_names_a_trials_folder(tmp_path, experiment_id):
    with pytest.raises(OutsideFolder):
        TrialFolder(tmp_path, experiment_id, 1)


def test_the_folder_has_its_places(tmp_path):
    folder = TrialFolder(tmp_path, "7f3k2m9q", 3)
    folder.create()
    folder.create()
    assert folder.path == tmp_path / "7f3k2m9q" / "3"
    assert folder.output.is_dir()
    assert {folder.parameters.parent, folder.metrics.parent, folder.log.parent} == {folder.path}


def test_a_new_attempt_starts_with_an_empty_folder(tmp_path):
    """TD-Z1: also when something else, or a link, is in its place."""
    folder, elsewhere = TrialFolder(tmp_path / "root", "7f3k2m9q", 3), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    for leave in (
        lambda: (folder.path / "deep").mkdir(parents=True),
        lambda: folder.path.write_text("a file"),
        lambda: folder.path.symlink_to(elsewhere),
    ):
        folder.make()
        assert [path.name for path in folder.path.iterdir()] == ["output"] and not folder.path.is_symlink()
        (folder.path / "stale").touch()
        folder.make()
        assert [path.name for path in folder.path.iterdir()] == ["output"]
        folder.close()
        shutil.rmtree(folder.path)
        leave()
    folder.make()
    folder.close()
    assert (elsewhere / "kept").exists()
    folder.path.parent.rename(tmp_path / "moved")
    folder.path.parent.symlink_to(tmp_path / "moved")
    with pytest.raises(OutsideFolder):
        folder.make()


@pytest.mark.parametrize("is_open", [False, True])
def test_files_are_added_with_their_mode(tmp_path, is_open):
    """TD-Z2"""
    folder = TrialFolder(tmp_path, "7f3k2m9q", 3)
    if is_open:
        folder.make()
    else:
        folder.create()
    folder.add_folder(folder.path / "nni")
    folder.add_folder(folder.path / "nni")
    folder.add_file(folder.path / "nni" / "x", "ü")
    folder.add_file(folder.configuration, b"secret", mode=0o600)
    folder.close()
    folder.close()
    assert (folder.path / "nni" / "x").read_text("utf-8") == "ü"
    assert folder.configuration.read_bytes() == b"secret"
    assert folder.configuration.stat().st_mode & 0o777 == 0o600


def test_what_another_user_may_have_put_into_the_folder_is_not_followed(tmp_path, monkeypatch):
    """TD-Z1, TD-Z2: with `--run-as`, the folder belongs to an account, of which other processes may run."""
    folder = TrialFolder(tmp_path / "root", "7f3k2m9q", 3)
    folder.make()
    (tmp_path / "elsewhere").mkdir()
    (folder.path / "nni").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(os, "geteuid", lambda: folder.path.stat().st_uid + 1)
    for add in (
        lambda: folder.add_file(folder.path / "nni" / "x", ""),
        lambda: folder.add_folder(folder.path / "nni" / "d"),
    ):
        with pytest.raises(OutsideFolder, match="is a link"):
            add()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_workers_own_variables_stay_with_the_worker(tmp_path):
    """TD-V5"""
    secrets = {
        name: "x"
        for name in (
            "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "DJANGO_SECRET_KEY",
            "CELERY_BROKER_URL", "CELERYD_X", "TRIALDECK_SECRET_KEY", "TRIALDECK_TOKEN",
            "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DATA", "PORT", "SLOTS", "AWS_SECRET_ACCESS_KEY",
            "FORKED_BY_MULTIPROCESSING",
        )
    }  # fmt: skip
    got = env(TrialFolder(tmp_path, "e1", 1), base={**secrets, "PATH": "/bin", "HF_HOME": "/cache"})
    assert not secrets.keys() & got.keys()
    assert (got["PATH"], got["HF_HOME"], got["PYTHONUNBUFFERED"]) == ("/bin", "/cache", "1")


def test_a_worker_may_name_further_variables(tmp_path):
    """TD-V5"""
    base = {"TRIALDECK_TRIAL_ENV": "WANDB_*, TEAM", "WANDB_MODE": "offline", "TEAM": "a", "TEAMS": "b"}
    got = env(TrialFolder(tmp_path, "e1", 1), base={**base, "TRIALDECK_TOKEN": "x"})
    assert (got["WANDB_MODE"], got["TEAM"]) == ("offline", "a")
    assert not {"TEAMS", "TRIALDECK_TRIAL_ENV", "TRIALDECK_TOKEN"} & got.keys()


def test_the_environment_group_wins_but_not_over_ours(tmp_path):
    user = {
        "PYTHONUNBUFFERED": "",
        "CUDA_VISIBLE_DEVICES": "1",
        "DATABASE_URL": "mine",
        "TRIALDECK_TRIAL_ID": "x",
        "TRIALDECK_EXTRA": "x",
    }
    got = env(TrialFolder(tmp_path, "e1", 1), base={"CUDA_VISIBLE_DEVICES": "0"}, user=user)
    assert (got["PYTHONUNBUFFERED"], got["CUDA_VISIBLE_DEVICES"], got["DATABASE_URL"]) == ("", "1", "mine")
    assert got["TRIALDECK_TRIAL_ID"] == "7f3k2m9q-3"
    assert "TRIALDECK_EXTRA" not in got


def test_the_trial_finds_its_files(tmp_path):
    folder = TrialFolder(tmp_path, "7f3k2m9q", 3)
    got = {name: value for name, value in env(folder).items() if name.startswith("TRIALDECK_")}
    assert got == {
        "TRIALDECK_EXPERIMENT_ID": "7f3k2m9q",
        "TRIALDECK_TRIAL_ID": "7f3k2m9q-3",
        "TRIALDECK_TRIAL_NUMBER": "3",
        "TRIALDECK_PARAMETERS": str(folder.path / "parameters.json"),
        "TRIALDECK_METRICS": str(folder.path / "metrics.jsonl"),
        "TRIALDECK_OUTPUT_DIR": str(folder.path / "output"),
        "TRIALDECK_METRIC": "accuracy",
    }


def test_a_trial_imports_trialdeck_and_none_of_our_other_packages(tmp_path):
    """Appended, so that nothing of a user's is shadowed, even when the worker had our root on its path."""
    (tmp_path / "experiments.py").write_text("mine = True")
    got = env(TrialFolder(tmp_path / "runs", "e1", 1), base={"PYTHONPATH": f"{ROOT}:{tmp_path}", **_path()})
    script = """
import importlib.util, experiments, trialdeck
print(experiments.mine, [importlib.util.find_spec(name) for name in ("console", "tests", "manage")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=got, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True [None, None, None]\n", "")
    assert got["PYTHONPATH"] == f"{tmp_path}:{package_folder(tmp_path / 'runs')}"


def test_the_users_own_pythonpath_comes_first(tmp_path):
    folder = TrialFolder(tmp_path, "e1", 1)
    assert env(folder, user={"PYTHONPATH": "/mine"})["PYTHONPATH"] == f"/mine:{package_folder(tmp_path)}"
    assert env(folder)["PYTHONPATH"] == package_folder(tmp_path)  # no empty entry: that would be the cwd


def test_the_package_folder_follows_an_upgrade(tmp_path):
    place = Path(package_folder(tmp_path))
    (place / "trialdeck").unlink()
    (place / "trialdeck").symlink_to("/gone/with/the/old/version")
    package_folder(tmp_path)
    assert [path.name for path in place.iterdir()] == ["trialdeck"]
    assert (place / "trialdeck" / "__init__.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [".package"]


def _path() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}
