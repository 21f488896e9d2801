"""What a worker tells about its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.runner.machine import Machine

SMI = """#!/bin/sh
case "$*" in *--query-gpu=name,utilization.gpu,memory.used,memory.total*) ;; *) exit 2 ;; esac
echo 'NVIDIA A100-SXM4, 80GB, 92, 40960, 81920'
echo 'Tesla K80, [N/A], 512, 11441'
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n")
    (tmp_path / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nHugePages: 0\n"
    )
    return tmp_path


def test_it_tells_cpu_between_two_looks_and_memory(proc: Path) -> None:
    """CML-Q3: CPU use is 1 minus what was idle, or waited for disks, since the look before."""
    machine = Machine(proc)
    first = machine.measure()
    assert "cpu" not in first, "one look alone would tell the average since the machine was started"
    assert (first["memory"], first["memory_used"]) == (1000 * 1024, 600 * 1024)
    (proc / "stat").write_text("cpu  160 0 115 720 105 0 0 0 0 0\n")
    assert machine.measure()["cpu"] == 0.75


def test_it_tells_the_disk_of_its_folder(tmp_path: Path) -> None:
    measured = Machine(folder=tmp_path).measure()
    assert 0 <= measured["disk_free"] <= measured["disk"] and measured["disk"] > 0
    assert "disk" not in Machine(folder=tmp_path / "gone").measure()


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """On a machine without /proc, or with one that nobody foresaw, the worker works."""
    assert Machine(tmp_path).measure().keys() <= {"cores", "load", "gpus"}
    (tmp_path / "stat").write_text("")
    (tmp_path / "meminfo").write_text("MemTotal: many kB\n")
    assert Machine(tmp_path).measure().keys() <= {"cores", "load", "gpus"}


def test_gpus_are_told_where_nvidia_smi_is(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CML-Q3: a name may hold a comma, a number may be missing; a tool that fails says nothing."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(SMI)
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(smi.parent), prepend=":")
    assert Machine(proc).measure()["gpus"] == [
        {"name": "NVIDIA A100-SXM4, 80GB", "use": 0.92, "memory_used": 40960 << 20, "memory": 81920 << 20},
        {"name": "Tesla K80", "memory_used": 512 << 20, "memory": 11441 << 20},
    ]
    smi.write_text("#!/bin/sh\necho 'No devices were found' >&2\nexit 6\n")
    assert "gpus" not in Machine(proc).measure()
