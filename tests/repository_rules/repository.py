"""The files of the project, as git knows them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".venv", "var", "staticfiles", "node_modules", "build", "dist"}


def files(*suffixes: str) -> list[Path]:
    """The project's files with one of these suffixes (all without), new ones included, ignored ones not."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    else:  # unpacked from an archive
        paths = [path for path in ROOT.rglob("*") if not _is_ignored(path.relative_to(ROOT))]
    kept = sorted(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))
    assert kept, f"no files with {suffixes}"
    return kept


def text_of(path: Path) -> str:
    """What the file says; empty for one that is no text."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _is_ignored(path: Path) -> bool:
    parts = set(path.parts)
    return bool(parts & NOT_OURS) or any(part.startswith(".") or part == "__pycache__" for part in parts)
