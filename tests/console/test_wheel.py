"""The wheel of the console: what is in it, and that it runs where nothing else of the checkout is."""

from __future__ import annotations

import configparser
import email
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import trialdeck
from tests.repository_rules.repository import files, name_of, text_of
from tests.support import processes
from tests.support.processes import ROOT, processes_of

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as `pip wheel .` builds it, by what the lock has."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        env={**os.environ, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("trialdeck_console-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The `bin` of an environment with the wheel; what it depends on is that of the tests' environment."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    # Not the .pth files in there: the checkout, where it is installed as editable, must not be found.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    uv = Path(sys.executable).with_name("uv")
    command = [
        uv,
        "pip",
        "install",
        "-q",
        "--offline",
        "--no-deps",
        "--python",
        folder / "bin" / "python",
        wheel,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_it_has_all_that_the_console_needs_and_nothing_else(wheel: Path) -> None:
    expected = {
        name
        for name in map(name_of, files())
        if name.startswith(("console/", "experiments/", "trialdeck/")) and name.endswith((".py", "/py.typed"))
    }
    for folder, inside in (
        ("templates", "console/templates"),
        ("static", "console/static"),
        ("examples/digits", "console/examples/digits"),
    ):
        expected |= {
            inside + name.removeprefix(folder)
            for name in map(name_of, files())
            if name.startswith(f"{folder}/")
        }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert {"experiments/migrations/0001_initial.py", "console/templates/base.html"} < names
    assert {"console/static/css/base.css", "console/examples/digits/train.py"} < names


def test_it_gives_one_command_for_console_and_client(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"trialdeck_console-{trialdeck.__version__}.dist-info"
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert dict(scripts["console_scripts"]) == {"trialdeck": "trialdeck.cli:main"}
    assert metadata["Name"] == "trialdeck-console"
    assert metadata["Version"] == trialdeck.__version__


def test_the_version_is_written_once() -> None:
    assert [name_of(path) for path in files(".py") if re.search(r"^__version__ =", text_of(path), re.M)] == [
        "trialdeck/__init__.py"
    ]
    for path in (ROOT / "pyproject.toml", ROOT / "trialdeck" / "pyproject.toml"):
        project = tomllib.loads(path.read_text())
        assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
        assert (
            path.parent / project["tool"]["hatch"]["version"]["path"]
        ) == ROOT / "trialdeck" / "__init__.py"


def test_it_runs_where_nothing_else_of_the_checkout_is(
    installed: Path, fresh: dict[str, str], tmp_path: Path
) -> None:
    """In a folder of somebody's project, which has packages of the same names as the console's."""
    for name in ("console", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    env = {**fresh, "PYTHONPATH": str(tmp_path)}
    del env["TRIALDECK_STATIC"], env["DJANGO_SETTINGS_MODULE"]
    program = [str(installed / "trialdeck")]
    with processes.Console(env, program=program, cwd=tmp_path) as console:
        console.says(r"demo +started")
        console.says(r"Trialdeck is at http://127\.0\.0\.1:\d+/")
        page = console.get("/sign-in/").read().decode()
        sheets = re.findall(r'href="(/static/css/[^"]+)"', page)
        assert len(sheets) == 1 and "@import" not in console.get(sheets[0]).read().decode()
        assert {console.get(sheet).status for sheet in sheets} == {200}
        assert (Path(console.data) / "staticfiles" / "css").is_dir()  # nothing is written beside the package
        shown = subprocess.run([*program, "ls"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert "distorted digits" in shown.stdout, shown.stderr
        assert console.end(signal.SIGINT) == 0
    assert "Stopped." in console.output
    assert not processes_of(console.data)


def test_its_data_are_in_the_home_of_the_user(installed: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [installed / "trialdeck", "worker", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.startswith("usage: trialdeck worker "), done.stderr
    assert f"{tmp_path}/.trialdeck/data" in re.sub(r"\s+", "", done.stdout)


def test_a_container_image_is_built_from_all_that_the_wheel_needs(wheel: Path, tmp_path: Path) -> None:
    """What .dockerignore lets through gives the same wheel."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = tuple(line[1:] for line in ignored if line.startswith("!"))
    assert "*" in ignored and all((ROOT / name).exists() for name in let_through)
    for path in files():
        name = name_of(path)
        if name in let_through or name.startswith(tuple(f"{folder}/" for folder in let_through)):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(path.read_bytes())
    assert (tmp_path / "requirements.lock").exists()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(next((tmp_path / "dist").iterdir())) as built, zipfile.ZipFile(wheel) as expected:
        assert sorted(built.namelist()) == sorted(expected.namelist())
