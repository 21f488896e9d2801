"""The part of a reproduce script that restores the trial's code and packages."""

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code of a trial. `version` is what git checks out ("" for the default branch); `packages` the list to
    install, None for the repository's requirements.txt; both resolved, if they were. `diff` without a repository is a
    script with the name `literal`."""

    repository: str = ""
    version: str = ""
    diff: str = ""
    literal: str = ""
    packages_from: str = "worker"
    packages: str | None = None
    python: str = ""
    image: str = ""
    image_arguments: str = ""

    @property
    def is_laid_out(self) -> bool:
        """Whether the script creates a folder for the code."""
        return bool(self.repository or self.literal)


def layout(code: Code) -> list[str]:
    """Return the script's lines that create `$folder/code` and `$folder/venv`, each once."""
    sections = []
    if code.image:
        arguments = f" ({code.image_arguments})" if code.image_arguments else ""
        note = (
            f"The trial ran in a container of {code.image}{arguments}; this script runs without a container."
        )
        sections.append(f"echo {shlex.quote(note)} >&2\n")
    if code.repository:
        sections.append(_clone(code))
    elif code.literal:
        sections += [
            'mkdir -p "$folder/code"\n',
            file(f"$folder/code/{code.literal}", code.diff.rstrip("\n")),
        ]
    if code.packages_from != "worker":
        sections += _packages(code)
    return sections


def _clone(code: Code) -> str:
    quoted = path(code.repository) if code.repository.startswith("~") else shlex.quote(code.repository)
    lines = [
        'if [ ! -e "$folder/code" ]; then',
        f'git clone --quiet --no-checkout -- {quoted} "$folder/code"',
        f'git -C "$folder/code" checkout --quiet --detach {shlex.quote(code.version or "HEAD")}',
    ]
    if code.diff.strip():
        end = _end_of(code.diff)
        apply = f"git -C \"$folder/code\" apply --unidiff-zero --whitespace=nowarn - <<'{end}'"
        lines += [apply, code.diff.removesuffix("\n"), end]
    return "\n".join([*lines, "fi"]) + "\n"


def _packages(code: Code) -> list[str]:
    name = Path(code.python).name
    python = code.python if name.startswith("python") and name != "python" else "python3"
    sections = [f'[ -e "$folder/venv" ] || {shlex.quote(python)} -m venv "$folder/venv"\n']
    if code.packages is None and code.packages_from == "repository":
        sections.append(
            '"$folder/venv/bin/python" -m pip install --quiet -r "$folder/code/requirements.txt"\n'
        )
    elif code.packages and code.packages_from != "none":
        sections.append(file("$folder/requirements.txt", code.packages.rstrip("\n")))
        sections.append('"$folder/venv/bin/python" -m pip install --quiet -r "$folder/requirements.txt"\n')
    sections.append('export VIRTUAL_ENV="$folder/venv" PATH="$folder/venv/bin:$PATH"\n')
    return sections


def file(name: str, text: str) -> str:
    """Return lines that write a text to a file; `name` may contain variables."""
    end = _end_of(text)
    return f"cat > \"{name}\" <<'{end}'\n{text}\n{end}\n"


def path(directory: str) -> str:
    """Return a path quoted for the shell, except for a leading ~ (a home directory)."""
    home, slash, below_home = directory.partition("/")
    if not home.startswith("~") or not all(letter.isalnum() or letter in "~._-" for letter in home):
        return shlex.quote(directory)
    return f"{home}/{shlex.quote(below_home)}" if below_home else home  # the first / must not be quoted


def _end_of(text: str) -> str:
    end = "END_OF_FILE"
    while end in text:
        end += "_"
    return end
