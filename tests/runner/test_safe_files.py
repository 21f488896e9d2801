"""No function of safe_files follows a link, waits at a pipe, or leaves its root, whatever a trial puts there."""

import io
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.runner import file_ownership, safe_files
from experiments.runner.keeper.logs import CappedLog
from experiments.runner.output.log import LogReader
from experiments.runner.safe_files import NotRegular, OpenFolder, OutsideFolder, Root

MAX = 500


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root, beside a folder `outside` with a file that nobody may reach, link to or change."""
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "secret").write_text("s3cret")
    (tmp_path / "outside" / "deep" / "secret").write_text("s3cret")
    for name in ("secret", "deep/secret"):
        (tmp_path / "outside" / name).chmod(0o644)
    (tmp_path / "root" / "trial" / "output").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def untouched(root: Path):
    yield
    outside = root.parent / "outside"
    left = {path.relative_to(outside).as_posix(): path.lstat() for path in outside.rglob("*")}
    assert set(left) == {"secret", "deep", "deep/secret"}
    assert all((outside / name).read_text() == "s3cret" for name in ("secret", "deep/secret"))
    assert all(left[name].st_mode & 0o777 == 0o644 for name in ("secret", "deep/secret"))


VERBS: dict[str, Callable[[str, Root], object]] = {
    "open": lambda name, root: safe_files.open_regular(name, below=root),
    "read": lambda name, root: safe_files.read_text(name, below=root, max_bytes=MAX),
    "list": lambda name, root: safe_files.list_names(Path(name).parent, below=root),
    "write": lambda name, root: safe_files.write_new(name, "x", below=root),
    "replace": lambda name, root: safe_files.replace(name, io.BytesIO(b"x"), below=root),
    "move to": lambda name, root: safe_files.move("mine", name, below=root),
    "move from": lambda name, root: safe_files.move(name, "other", below=root),
    "link": lambda name, root: safe_files.link_or_copy("mine", name, below=root),
    "link from": lambda name, root: safe_files.link_or_copy(name, "other", below=root),
    "remove": lambda name, root: safe_files.remove(name, below=root),
    "remove tree": lambda name, root: safe_files.remove_tree(name, below=root),
    "open to everyone": lambda name, root: file_ownership.open_to_everyone(Path(name).parent, below=root),
}
LINKS = {
    "an absolute link in place of the folder": ("trial/output", "{outside}"),
    "a relative link in place of the folder": ("trial/output", "../../outside"),
    "a link in place of a folder above": ("trial", "{outside}/deep/.."),
    "a link that stays inside": ("trial/output", "../elsewhere"),
}


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("link", LINKS)
def test_no_folder_of_a_path_may_be_a_link(root: Path, verb: str, link: str, is_open: bool) -> None:
    """TD-Z2: wherever the link leads, and whatever is done with the file behind it."""
    place, target = LINKS[link]
    (root / "mine").write_text("mine")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "secret").write_text("kept")
    safe_files.remove_tree(place, below=root)
    (root / place).symlink_to(target.format(outside=root.parent / "outside"))
    with pytest.raises(OutsideFolder, match="is a link"):
        VERBS[verb](f"{place}/secret", OpenFolder(root, below=root) if is_open else root)
    assert (root / "elsewhere" / "secret").read_text() == "kept"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("list", "open to everyone")])
@pytest.mark.parametrize("name", ["..", "../outside/secret", "trial/../../outside/secret", "a\0b", "", "."])
def test_no_name_leads_out(root: Path, verb: str, name: str) -> None:
    """TD-Z2: two dots, also in the middle; the root itself is no file."""
    (root / "mine").write_text("mine")
    with pytest.raises(OutsideFolder, match="is outside its folder"):
        VERBS[verb](name, root)


def test_an_open_folder_is_the_same_whatever_is_done_to_its_name(root: Path) -> None:
    """TD-Z2: a trial that puts a link in the place of its folder only deceives those who open it later."""
    trial = OpenFolder(root / "trial", below=root)
    (root / "trial").rename(root / "moved")
    (root / "trial").symlink_to(root.parent / "outside")
    safe_files.write_new(root / "trial" / "output" / "x", "x", below=trial)
    assert (root / "moved" / "output" / "x").read_text() == "x"
    with pytest.raises(OutsideFolder, match="is outside its folder"):
        safe_files.read_text(root / "trial" / ".." / "mine", below=trial, max_bytes=1)
    trial.close()
    trial.close()
    with pytest.raises(OutsideFolder, match="is a link"):
        safe_files.read_text(root / "trial" / "secret", below=trial, max_bytes=MAX)


def test_an_open_folder_is_used_by_threads_while_another_one_closes_it(root: Path) -> None:
    """TD-Z2: none of them gets the descriptor of something else."""
    names: list[list[str]] = []
    (root / "trial" / "mark").touch()

    def use(trial: OpenFolder) -> None:
        for _ in range(50):
            names.append(safe_files.list_names(root / "trial", below=trial))

    for _ in range(20):
        trial = OpenFolder(root / "trial", below=root)
        threads = [threading.Thread(target=use, args=(trial,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        trial.close()
        os.close(os.open("/", os.O_RDONLY))  # takes the number that has become free
        for thread in threads:
            thread.join()
    assert len(names) == 20 * 3 * 50 and set(map(tuple, names)) == {("mark", "output")}


def test_an_absolute_path_has_to_be_below_the_root(root: Path) -> None:
    """TD-Z2"""
    safe_files.write_new(root / "trial" / "x", "x", below=root)
    assert safe_files.read_text(root / "trial" / "x", below=root, max_bytes=1) == "x"
    for path in (root.parent / "outside" / "secret", Path("/etc/passwd")):
        with pytest.raises(OutsideFolder):
            safe_files.open_regular(path, below=root)


def test_what_is_no_file_is_neither_opened_nor_waited_for(root: Path) -> None:
    """TD-Z2: a pipe without a writer, a socket, a device, a folder, a link."""
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "link").symlink_to(root.parent / "outside" / "secret")
    (root / "zero").symlink_to("/dev/zero")
    here = os.getcwd()
    os.chdir(root)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket")
    finally:
        os.chdir(here)
    for name in ("pipe", "folder", "socket"):
        with pytest.raises(NotRegular):
            safe_files.open_regular(name, below=root)
    for name in ("link", "zero"):
        with pytest.raises(OutsideFolder):
            safe_files.open_regular(name, below=root)
    with pytest.raises(NotRegular):
        safe_files.open_regular("null", below=Path("/dev"))
    listed = {name for name, _ in safe_files.list_files("", below=root, max_name=MAX)}
    assert listed == {"pipe", "link", "zero", "socket"}, "listed as what they are, not followed"


def test_writing_replaces_a_link_or_a_pipe_instead_of_writing_to_it(root: Path) -> None:
    """TD-Z2"""
    (root / "link").symlink_to(root.parent / "outside" / "secret")
    os.mkfifo(root / "pipe")
    for name in ("link", "pipe"):
        safe_files.write_new(name, "new", below=root, mode=0o600)
        assert (root / name).read_text() == "new" and not (root / name).is_symlink()
        assert (root / name).stat().st_mode & 0o777 == 0o600
    (root / "link").unlink()
    (root / "link").symlink_to(root.parent / "outside" / "secret")
    safe_files.replace("link", io.BytesIO(b"newer"), below=root)
    assert (root / "link").read_text() == "newer" and not (root / "link").is_symlink()


def test_deleting_removes_links_and_leaves_what_they_lead_to(root: Path) -> None:
    """TD-Z2: links to files and folders, at any depth; of a hard link only the name goes."""
    outside = root.parent / "outside"
    (root / "trial" / "a" / "b").mkdir(parents=True)
    (root / "trial" / "a" / "b" / "folder").symlink_to(outside)
    (root / "trial" / "file").symlink_to(outside / "secret")
    os.link(outside / "secret", root / "trial" / "hard")
    (root / "trial" / "a").chmod(0o500)
    safe_files.remove_tree("trial", below=root)
    assert list(root.iterdir()) == []
    (root / "link").symlink_to(outside)
    safe_files.remove_tree("link", below=root)
    assert list(root.iterdir()) == []
    safe_files.remove_tree("nothing", below=root)


def test_any_depth_is_listed_up_to_the_longest_name_and_deleted(root: Path) -> None:
    """TD-Z2: neither descriptors nor the stack run out."""
    number = os.open(root / "trial", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=number)
        deeper = os.open("d", os.O_RDONLY, dir_fd=number)
        os.close(number)
        number = deeper
    os.close(number)
    try:
        listed = [name for name, _ in safe_files.list_files("trial", below=root, max_name=MAX)]
        assert listed == ["d/" * 250 + "d"]
        safe_files.remove_tree("trial", below=root)
        assert list(root.iterdir()) == []
    finally:
        subprocess.run(
            ["rm", "-rf", root / "trial"], check=True
        )  # too deep for who tidies up after the tests


def test_a_link_swapped_in_between_is_never_followed(root: Path) -> None:
    """TD-Z2: a folder that turns into a link and back, all the time, while it is listed, read and emptied."""
    output, outside = root / "trial" / "output", root.parent / "outside"
    aside = root / "trial" / "aside"
    ending = threading.Event()

    def swap() -> None:
        while not ending.is_set():
            output.rename(aside)
            output.symlink_to(outside)
            output.unlink()
            aside.rename(output)

    (output / "secret").write_text("mine")
    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes: set[str] = set()
    expected, rounds = {"mine", "secret: 4"}, 0
    try:
        while rounds < 3000 or not expected <= outcomes:
            rounds += 1
            try:
                with safe_files.open_regular("trial/output/secret", below=root) as file:
                    outcomes.add(file.read().decode())
            except OutsideFolder:
                outcomes.add("a link")
            except OSError:
                outcomes.add("nothing")
            for name, status in safe_files.list_files("trial/output", below=root, max_name=MAX):
                outcomes.add(f"{name}: {status.st_size}")
    finally:
        ending.set()
        swapping.join()
    assert outcomes <= {*expected, "a link", "nothing"}


def test_a_hard_link_is_made_of_the_file_that_was_opened(root: Path) -> None:
    """TD-Z2: the same file under another name; whatever had that name is replaced."""
    (root / "a").write_text("weights")
    (root / "model").mkdir()
    (root / "model" / "b").symlink_to(root.parent / "outside" / "secret")
    safe_files.link_or_copy("a", "model/b", below=root)
    assert (root / "model" / "b").samefile(root / "a") and not (root / "model" / "b").is_symlink()


def test_the_log_of_a_trial_goes_nowhere_else(root: Path) -> None:
    """TD-Z2: neither by a link or a pipe under the name of its next segment, nor by a link in place of its folder."""
    folder, outside = root / "trial", root.parent / "outside"
    log = CappedLog(str(folder / "log"), 10, str(root))
    (folder / "log.10").symlink_to(outside / "secret")
    os.mkfifo(folder / "log.20")
    log.write(b"0123456789" * 3)
    reader = LogReader(folder / "log", below=root)
    assert b"".join(piece.data for piece in reader.new()) == b"0123456789" * 3
    folder.rename(root / "aside")
    folder.symlink_to(outside)
    log.write(b"0123456789" * 3)
    log.close()
    assert LogReader(folder / "log", below=root).new() == []
    assert LogReader(root / "aside" / "log", below=root).new()[-1].offset == 50
    with pytest.raises(OSError):
        CappedLog(str(folder / "log"), 10, str(root))
    (outside / "log.0").write_text("s3cret")
    folder.unlink()
    folder.mkdir()
    (folder / "log.0").symlink_to(outside / "log.0")
    assert LogReader(folder / "log", below=root).new() == []
    (outside / "log.0").unlink()
