"""Sizes in words, which control group is the worker's, and what it may do there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runner import cgroup
from experiments.runner.keeper.processes import stat
from experiments.runner.keeper.trial_cgroup import out_of_memory
from experiments.runner.memory_size import format_mebibytes, parse_mebibytes
from experiments.runner.process import is_alive

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("typed", "mib", "message"),
    [
        ("4 GiB", 4096, "4 GiB"),
        ("4", 4096, "4 GiB"),
        (" 512MiB ", 512, "512 MiB"),
        ("1.5g", 1536, "1.5 GiB"),
        ("2GB", 2048, "2 GiB"),
        ("0.1 TiB", 104857, "104857 MiB"),
        ("2048 k", 2, "2 MiB"),
    ],
)
def test_a_size_is_read_as_people_type_it(typed, mib, message):
    """TD-F8: and what is said can be typed again."""
    assert (
        parse_mebibytes(typed) == mib and format_mebibytes(mib) == message and parse_mebibytes(message) == mib
    )


@pytest.mark.parametrize("typed", ["much", "4 B", "-1", "4 GiB 2 MiB", "1e3", "٤", ""])
def test_nonsense_is_no_size(typed):
    """TD-F8"""
    with pytest.raises(ValueError, match="such as 4 GiB or 512 MiB"):
        parse_mebibytes(typed)


def system(folder: Path, *, groups: str, mounts: str, meminfo: str = "MemTotal: 8388608 kB\n") -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    (folder / "proc/self/mountinfo").write_text(mounts)
    (folder / "proc/meminfo").write_text(meminfo)
    return folder / "proc"


def group_at(path: Path, **files: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in {"cgroup_procs": "", **files}.items():
        (path / name.replace("_", ".", 1)).write_text(text)


def test_version_2_is_found_with_the_least_limit_above_it(tmp_path):
    """TD-F8: what a worker may use is what its service may use, not what the machine has."""
    top = tmp_path / "fs"
    group_at(top / "box/worker", cgroup_controllers="cpu memory\n", memory_max="max\n")
    group_at(top / "box", memory_max=f"{3 << 30}\n")
    mounts = f"31 30 0:9 / {top} rw,relatime - cgroup2 cgroup2 rw\n"
    proc = system(tmp_path, groups="0::/box/worker\n", mounts=mounts)
    assert cgroup.own_group(proc) == cgroup.Group(2, top / "box/worker", top)
    assert cgroup.memory_mib(proc) == 3072


def test_version_1_within_a_container_is_found_by_what_is_mounted(tmp_path):
    """TD-F8: version 2 stands beside it without memory; the path that the kernel tells is that of the host."""
    group_at(tmp_path / "unified", cgroup_controllers="hugetlb\n")
    group_at(tmp_path / "memory", memory_limit_in_bytes=f"{1 << 30}\n")
    mounts = (
        f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
        f"35 31 0:32 /docker/abc {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    )
    proc = system(tmp_path, groups="0::/\n4:memory:/docker/abc\n", mounts=mounts)
    results = cgroup.own_group(proc)
    assert (results.version, results.path) == (1, tmp_path / "memory")
    assert cgroup.memory_mib(proc) == 1024


@pytest.mark.parametrize("groups", ["", "0::/../elsewhere\n", "3:cpu:/\n"])
def test_without_a_group_for_memory_the_machines_memory_counts(tmp_path, groups):
    """TD-F8: and nothing is limited, which is said."""
    group_at(tmp_path / "fs", cgroup_controllers="memory\n")
    proc = system(tmp_path, groups=groups, mounts=f"31 30 0:9 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    with pytest.raises(cgroup.CgroupError, match="no control group with the memory controller"):
        cgroup.own_group(proc)
    assert cgroup.memory_mib(proc) == 8192
    assert cgroup.memory_mib(tmp_path / "nowhere") == 0


@pytest.mark.parametrize(
    ("name", "others", "is_given", "message"),
    [
        ("shared", "1\n", False, "shares its control group .*/shared with other programs"),
        (
            "foo.service",
            "",
            False,
            r"systemd does not delegate foo\.service to the worker \(set Delegate=yes\)",
        ),
        ("foo.service", "1\n", True, ""),
        ("mine", "", False, ""),
        (cgroup.MAIN, "1\n", False, "shares its control group .*/fs with other"),  # the one above it counts
    ],
)
def test_only_a_group_that_is_the_workers_alone_is_divided(
    tmp_path, monkeypatch, name, others, is_given, message
):
    """TD-F8: nobody else's processes are moved. What the files of a folder cannot do, as the kernel's would, is seen in
    what was written to them."""
    top = tmp_path / "fs"
    whole = top if name == cgroup.MAIN else top / name
    group_at(top / name, cgroup_controllers="memory\n", cgroup_procs=f"{os.getpid()}\n")
    procs = f"{os.getpid()}\n{others}"
    group_at(
        whole,
        cgroup_controllers="memory\n",
        cgroup_procs=procs,
        cgroup_subtree_control="",
        memory_max="max\n",
    )
    if is_given:
        monkeypatch.setattr(os, "getxattr", lambda path, key: b"1")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    mounts = f"31 30 0:9 / {top.parent} rw - cgroup2 cgroup2 rw\n"  # the group is not the top of what is seen
    proc = system(tmp_path, groups=f"0::/fs/{name}\n", mounts=mounts)
    if message:
        with pytest.raises(cgroup.CgroupError, match=message):
            cgroup.CgroupParent.prepare("x", proc=proc)
        assert (whole / "cgroup.subtree_control").read_text() == ""
        return
    home = cgroup.CgroupParent.prepare("x", proc=proc)
    assert (whole / "cgroup.subtree_control").read_text() == "+memory"
    assert home.group.path == whole and (whole / cgroup.MAIN / "cgroup.procs").read_text() in procs.split()


def test_the_kernels_word_is_read_from_the_group(tmp_path):
    """PAI-S1: killed at its own limit, or because nobody had memory left."""
    assert out_of_memory(str(tmp_path)) == ""
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert out_of_memory(str(tmp_path)) == "limit"
    (tmp_path / "memory.events").write_text("low 0\noom 0\noom_kill 2\n")
    assert out_of_memory(str(tmp_path)) == "machine"
    (tmp_path / "memory.events").unlink()
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    (tmp_path / "memory.limit_in_bytes").write_text(f"{64 << 20}\n")
    (tmp_path / "memory.max_usage_in_bytes").write_text(f"{(64 << 20) - 4096}\n")
    assert out_of_memory(str(tmp_path)) == "limit"
    (tmp_path / "memory.max_usage_in_bytes").write_text(f"{8 << 20}\n")
    assert out_of_memory(str(tmp_path)) == "machine"


def test_what_a_dead_keeper_left_is_swept_and_a_living_ones_stays(tmp_path):
    """TD-F8: with whatever runs in it. Where no group can be made, settling says so."""
    try:
        home = cgroup.CgroupParent.prepare(str(tmp_path))
    except cgroup.CgroupError as error:
        assert str(error)[0].islower() and not str(error).endswith(".")
        return
    me = stat(os.getpid())
    living = home.make(f"{os.getpid()}-{me.ticks}-abc-1-1", memory_mib=64)
    dead = home.make(f"{os.getpid()}-{me.ticks + 1}-abc-2-1", memory_mib=64)
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (dead / "cgroup.procs").write_text(str(sleeper.pid))
        (dead / "deeper").mkdir()
        assert home.sweep(is_alive=is_alive) == [dead.name]
        assert sleeper.wait() == -9 and not dead.exists() and living.exists()
        assert home.sweep(is_alive=lambda pid, ticks: False) == [living.name]
    finally:
        sleeper.kill()
        sleeper.communicate()
