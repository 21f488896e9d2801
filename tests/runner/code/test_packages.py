"""Environments of trials: resolved, built once, shared, trimmed. With the real uv and wheels made here."""

import os
import subprocess
import sys
import threading
import zipfile

import pytest

from experiments.runner.code.packages import Environments, PackagesError, activated, parse_frozen
from experiments.runner.tool_process import Cancelled

pytestmark = pytest.mark.once


def never():
    return False


def wheel(folder, name, version, requires=""):
    """A package with one module that tells its version."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += f"Requires-Dist: {requires}\n" if requires else ""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", about)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shelf(tmp_path):
    """The options of a list that finds packages in a folder only."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    wheel(folder, "mine", "1.0")
    wheel(folder, "mine", "2.0", requires="yours")
    wheel(folder, "yours", "0.5")
    return f"--no-index\n--find-links {folder}\n"


@pytest.fixture
def environments(tmp_path):
    return Environments(tmp_path / "environments")


def versions(environment, code):
    argv = ["python", "-c", code]
    env = activated(os.environ, environment)
    return subprocess.run(argv, env=env, capture_output=True, text=True).stdout.strip()


def test_a_list_is_resolved_whole_and_installed_as_resolved(environments, shelf):
    """CML-S2: what was specified and what was resolved are two lists."""
    resolved = environments.resolve(shelf + "mine", python=sys.executable, is_cancelled=never)
    assert resolved.splitlines()[2:] == ["mine==2.0", "yours==0.5"]
    with environments.held(resolved, python=sys.executable, is_cancelled=never) as environment:
        assert versions(environment, "import mine, yours; print(mine.version, yours.version)") == "2.0 0.5"


def test_none_means_an_environment_without_packages(environments):
    """CML-S2: not even those of the worker."""
    with environments.held("", python=sys.executable, is_cancelled=never) as environment:
        output = versions(
            environment, "import importlib.util as u; print(u.find_spec('django'), u.find_spec('pip'))"
        )
        assert output == "None None"


WITHIN = """\
mine==2.0
numpy @ file:///croot/numpy_1/work
patched @ file:///mnt/wheels/patched-1.0-py3-none-any.whl#sha256=ab
torch @ https://example.org/torch-2.9+cpu.whl
# by its version: mine==2.0
# by its version: numpy==1.26.4
# by its version: patched==1.0
# that is all
"""


def test_what_is_in_a_container_is_a_list_that_can_be_installed_again():
    """CML-S2: what the image brought from a folder of its making has a version only."""
    specified = "--no-index\nmine\n/mnt/wheels/patched-1.0-py3-none-any.whl\n"
    assert parse_frozen(WITHIN, specified=specified).splitlines() == [
        "--no-index",
        "mine==2.0",
        "numpy==1.26.4",
        "patched @ file:///mnt/wheels/patched-1.0-py3-none-any.whl#sha256=ab",
        "torch @ https://example.org/torch-2.9+cpu.whl",
    ]
    assert parse_frozen("mine==2.0\n", specified=specified) is None  # pip was ended before it had told all


def test_a_file_may_name_another(environments, shelf, tmp_path):
    """CML-S2: the repository's requirements.txt, with a -r in it."""
    (tmp_path / "requirements.txt").write_text(f"{shelf}-r more.txt\n")
    (tmp_path / "more.txt").write_text("mine<2\n")
    file = tmp_path / "requirements.txt"
    resolved = environments.resolve(file, python=sys.executable, is_cancelled=never)
    assert resolved.splitlines()[2:] == ["mine==1.0"]


def test_the_same_list_is_built_once(environments, shelf):
    """CML-S2: eight trials that start together wait for one build."""
    resolved = environments.resolve(shelf + "mine==1.0", python=sys.executable, is_cancelled=never)
    built = []

    def hold():
        with environments.held(resolved, python=sys.executable, is_cancelled=never) as environment:
            built.append((environment, (environment / "pyvenv.cfg").stat().st_ino))

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 8 and len(set(built)) == 1


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("nothere", "nothere"),
        ("mine==9", "no version of mine==9"),
        ("mine ==", "parse"),
        ("!!!", "line 3 of the list"),
        ("mine\nyours>1", "yours"),
    ],
)
def test_a_list_that_cannot_be_resolved_says_why(environments, shelf, wanted, message):
    """CML-S2: the resolver's own word, in one line."""
    with pytest.raises(PackagesError, match=message) as error:
        environments.resolve(shelf + wanted, python=sys.executable, is_cancelled=never)
    assert "\n" not in str(error.value)


def test_nothing_half_built_is_left(environments, shelf):
    """CML-S2: a package that is gone between resolving and building."""
    with (
        pytest.raises(PackagesError, match="cannot be installed"),
        environments.held(shelf + "mine==7.0", python=sys.executable, is_cancelled=never),
    ):
        raise AssertionError("there is no such package")
    assert not list(environments.root.glob("*/pyvenv.cfg"))


def test_a_build_that_nobody_waits_for_ends(environments, shelf):
    """CML-S2: Stop while packages are installed."""
    with (
        pytest.raises(Cancelled),
        environments.held(shelf + "mine==1.0", python=sys.executable, is_cancelled=lambda: True),
    ):
        raise AssertionError("it was cancelled")
    assert not list(environments.root.glob("*/ready"))


def test_the_longest_unused_go_and_held_ones_stay(environments, shelf):
    """CML-S2: the cache has a size; a running trial's environment is not taken away."""
    with environments.held(shelf + "mine==1.0", python=sys.executable, is_cancelled=never) as old:
        with environments.held("", python=sys.executable, is_cancelled=never) as unused:
            os.utime(old / "ready", (1, 1))
            os.utime(unused / "ready", (2, 2))
        environments.limit = 0
        assert environments.trim() == 1
        assert (old / "ready").exists() and not unused.exists()
    assert environments.trim() == 1
    assert not old.exists()
