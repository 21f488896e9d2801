"""Find the line of a log that explains why a program failed."""

import re
from collections.abc import Iterator

_TRACEBACK = re.compile(r"^(.*?)Traceback \(most recent call last\):$")
_EXCEPTION = re.compile(
    r"^(?:\[?\w+\]?: )?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Killed)\b"
)
# Launchers that only report that a program which they started has failed.
_LAUNCHER = re.compile(
    r"^(?:[\w.]*\.)?(?:ChildFailedError|CalledProcessError|SignalException|ProcessExitedException|ProcessRaisedException)\b"
)
# Lines at the end of a log that explain nothing.
_NOISE = re.compile(
    r"[\W_]+"  # rules and boxes
    r"|Set the environment variable HYDRA_FULL_ERROR=1 .*"
    r"|wandb: .*"
    r"|(?:make|gmake)(?:\[\d+\])?: \*\*\* .*"
    r"|error: Recipe `.*` failed .*"
    r"|Command exited with non-zero status \d+"
    r"|(?:ERROR )?conda\.cli\.main_run:.*|ERROR conda\.cli.*"
    r"|srun: (?:error|Terminating|launch/slurm).*"
    r"|\[?[EWI]\d{4} .*|(?:WARNING|ERROR|INFO):torch\.distributed\.\S+.*"
    r"|.*\d+%\|.*\|.*"  # progress bars
    r"|For more information .*|Try '.* --?h(?:elp)?' for help\.?|See https?://\S+.*"
)
_HYDRA = re.compile(r"Set the environment variable HYDRA_FULL_ERROR=1 ")
_ARGPARSE = re.compile(r"[^\s:]+(?: [^\s:]+)*: error: \S.*")
_CLICK = re.compile(r"Error: \S.*")
_RICH_BOX = re.compile(r"╭─+ (?:Error|Traceback.*) ─+╮")
_TORCHRUN = re.compile(r"\s*traceback : (Signal \d+ \(\w+\) received by PID \d+)")
_LOOKS_LIKE_ERROR = re.compile(
    r"^(?:\S+: )?(?:\[?(?:fatal|error|critical|panic)\b[^\w]*[:\]]|fatal error\b)", re.IGNORECASE
)
_LAST_LINES = 12


def error_line(lines: list[str]) -> tuple[str, bool]:
    """Return the line that explains the failure, and whether it is the exception of a Python traceback.

    `lines` are the end of the program's output, without blank ones at the end of lines; "" when there are none.
    """
    at, exception = _last_exception(lines)
    after, message = _usage_error(lines)
    if message and after > at:
        return message, False
    if exception:
        return exception, True
    texts = [line.strip() for line in lines if line.strip()]
    while len(texts) > 1 and _NOISE.fullmatch(texts[-1]):
        texts.pop()
    for line in reversed(lines):
        if signal := _TORCHRUN.fullmatch(line):
            return signal[1], False
    bare = [line.lstrip("| ") for line in texts[-5:]]  # exception groups are printed as a tree
    exception = next(
        (line for line in reversed(bare) if _EXCEPTION.match(line) and not _LAUNCHER.match(line)), ""
    )
    if exception:
        return exception, True
    if not texts:
        return "", False
    recent = reversed(texts[-_LAST_LINES:])
    return next((line for line in recent if _LOOKS_LIKE_ERROR.match(line)), texts[-1]), False


def _last_exception(lines: list[str]) -> tuple[int, str]:
    """Return (position, line) of the last traceback's exception, those of launchers apart; (-1, "") without any."""
    for index in range(len(lines) - 1, -1, -1):
        begin = _TRACEBACK.match(lines[index])
        if not begin:
            continue
        # Some launchers prefix each line ("[rank0]: "); the frames below are indented.
        unprefixed = ((at, lines[at].removeprefix(begin[1])) for at in range(index + 1, len(lines)))
        exception = next(
            ((at, line) for at, line in unprefixed if line and not line.startswith((" ", "\t"))), None
        )
        if exception and not _LAUNCHER.match(exception[1]):
            return exception
    return -1, ""


def _usage_error(lines: list[str]) -> tuple[int, str]:
    """Return (position, message) of the last error of argparse, click, typer or Hydra; (-1, "") without any."""
    for at in range(len(lines) - 1, -1, -1):
        line = lines[at].strip()
        before = "\n".join(lines[max(0, at - 40) : at]).casefold()
        if (
            _HYDRA.match(line)
            and "error executing job with overrides" not in "\n".join(lines[:at]).casefold()
        ):
            return at, " ".join(_paragraph_before(lines, at))
        if "usage:" in before and (_ARGPARSE.fullmatch(line) or _CLICK.fullmatch(line)):
            return at, line
        if _RICH_BOX.fullmatch(line) and at + 1 < len(lines):
            return at, lines[at + 1].strip("│ ")
    return -1, ""


def _paragraph_before(lines: list[str], at: int) -> Iterator[str]:
    """Return the lines of the paragraph above line `at`."""
    end = at
    while end > 0 and not lines[end - 1].strip():
        end -= 1
    start = end
    while start > 0 and lines[start - 1].strip():
        start -= 1
    return (line.strip() for line in lines[start:end])
