"""Find the line of a log that explains why a program failed."""

import itertools
import re
from collections.abc import Iterator

_TRACEBACK = re.compile(r"^(?!\s*\+ Exception Group )(.*?)Traceback \(most recent call last\):$")
_GROUP = re.compile(r"^\s*\+ Exception Group Traceback \(most recent call last\):$")
_GROUP_MEMBER = re.compile(r"^\s*\+(?:-\+)?-+ \d+ -+$")
# Lines before a traceback that did not end the program: in a thread, child process, destructor or log handler.
_ASIDE = re.compile(
    r".*(?:Exception (?:ignored (?:in|on|while)|in thread)|Error in (?:atexit\._run_exitfuncs|sys\.excepthook)"
    r"|--- Logging error ---|Task exception was never retrieved|(?:^|\s)Process \S+:$).*"
)
_EXCEPTION = re.compile(
    r"^(?:\[?\w+\]?: )?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Killed)\b"
)
# Launchers, which only report that a program that they started has failed.
_LAUNCHER = re.compile(
    r"^(?:[\w.]*\.)?(?:ChildFailedError|CalledProcessError|SignalException|ProcessExitedException|ProcessRaisedException)\b"
)
# Lines at the end of a log that do not explain the failure.
_NOISE = re.compile(
    r"[\W_]+"  # rules and boxes
    r"|Set the environment variable HYDRA_FULL_ERROR=1 .*"
    r"|wandb: .*"
    r"|(?:make|gmake)(?:\[\d+\])?: \*\*\* .*"
    r"|error: Recipe `.*` failed .*"
    r"|Command exited with non-zero status \d+"
    r"|(?:ERROR )?conda\.cli\.main_run:.*|ERROR conda\.cli.*"
    r"|srun: (?:error|Terminating|launch/slurm).*"
    r"|\w*sh: (?:-c: )?line \d+: `.*'"  # the line of a syntax error
    r"|\[?[EWI]\d{4} .*|(?:WARNING|ERROR|INFO):torch\.distributed\.\S+.*"
    r"|.*\d+%\|.*\|.*"  # progress bars
    r"|For more information .*|Try '.* --?h(?:elp)?' for help\.?|See https?://\S+.*|Pass --help.*"
    r"|Execution halted|Calls: .*"  # R
    r"|at \S.*|\.\.\. \d+ more|Node\.js v\S+"  # frames of Java and JavaScript
    r"|note: run with `RUST_BACKTRACE.*|goroutine \d+ .*|exit status \d+"
    r"|Extension modules: .*|(?:Current thread|Thread) 0x.*|File \".*\", line \d+ in .*"  # faulthandler
    r"|=+ .* =+"  # pytest
)
_HYDRA = re.compile(r"Set the environment variable HYDRA_FULL_ERROR=1 ")
_ARGPARSE = re.compile(r"[^\s:]+(?: [^\s:]+)*: error: \S.*")
_CLICK = re.compile(r"Error: \S.*")
_RICH_ERROR = re.compile(
    r"╭─+ (?:Error|Parsing error|Required options|Unrecognized options) ─+╮"
)  # typer, tyro
_RICH_TRACEBACK = re.compile(r"╭─+ Traceback.* ─+╮")
_RICH_END = re.compile(r"╰─+╯")
_RICH_RULE = re.compile(r"│ ─+ │")  # between the error and its hints
_TORCHRUN = re.compile(r"\s*traceback : (Signal \d+ \(\w+\) received by PID \d+)")
_LOOKS_LIKE_ERROR = re.compile(
    r"^(?:\S+: )?(?:\[?(?:fatal|error|critical|panic)\b[^\w]*[:\]]|fatal error\b|fatal python error\b"
    r"|error in |exception in thread |caused by: |what\(\): |.*\bassertion .* failed\.?$)"
    r"|^[\[(]?\d{4}-\d\d-\d\d.*\b(?-i:ERROR|CRITICAL|FATAL)\b",  # a line of a log
    re.IGNORECASE,
)
_OPTION_ERROR = re.compile(
    r".*\b(?:(?:illegal|invalid|unrecognized|unknown|bad) (?:option|argument)|requires an argument|missing)\b.*",
    re.IGNORECASE,
)  # of getopt and shell scripts; the usage follows
_COUNT_OF_ERRORS = re.compile(r"\b\d+ validation errors? for \S")  # by pydantic; a field and its error follow
_LAST_LINES = 12


def error_line(lines: list[str]) -> tuple[str, bool]:
    """Return the line that explains the failure, and whether it is the exception of a Python traceback.

    `lines` are the last lines of the program's output. The line is "" when there is none.
    """
    at, exception = _last_exception(lines, include_nonfatal=False)
    if not exception:
        at, exception = _last_exception(lines, include_nonfatal=True)
    after, message = _usage_error(lines)
    if message and after > at:
        return message, False
    if exception:
        return exception, True
    if exception := _rich_exception(lines):
        return exception, True
    texts = [line.strip() for line in lines if line.strip()]
    while len(texts) > 1 and _NOISE.fullmatch(texts[-1]):
        texts.pop()
    if len(texts) > 1 and texts[-1].casefold().startswith("usage:") and _OPTION_ERROR.fullmatch(texts[-2]):
        return texts[-2], False
    for line in reversed(lines):
        if signal := _TORCHRUN.fullmatch(line):
            return signal[1], False
    bare = [line.lstrip("| ") for line in texts[-5:]]  # Python prints exception groups as a tree
    exception = next(
        (line for line in reversed(bare) if _EXCEPTION.match(line) and not _LAUNCHER.match(line)), ""
    )
    if exception:
        return exception, True
    if not texts:
        return "", False
    recent = range(len(texts) - 1, max(-1, len(texts) - 1 - _LAST_LINES), -1)
    index = next((each for each in recent if _LOOKS_LIKE_ERROR.match(texts[each])), len(texts) - 1)
    if index and texts[index].startswith("Caused by: ") and texts[index - 1].startswith("error: "):
        return f"{texts[index - 1]}: {texts[index]}", False  # uv and cargo print what failed first
    return _whole_message(texts, index), False


def _last_exception(lines: list[str], *, include_nonfatal: bool) -> tuple[int, str]:
    """Return (position, message) of the last traceback's exception; (-1, "") without any. Exceptions of launchers are
    skipped; without `include_nonfatal`, also those that did not end the program."""
    for index in range(len(lines) - 1, -1, -1):
        if _GROUP.match(lines[index]) and (member := _last_member(lines, index)):
            return index, member
        begin = _TRACEBACK.match(lines[index])
        if not begin or (not include_nonfatal and _is_nonfatal(lines[max(0, index - 2) : index])):
            continue
        # Some launchers prefix each line ("[rank0]: "); the frames below are indented.
        unprefixed = ((at, lines[at].removeprefix(begin[1])) for at in range(index + 1, len(lines)))
        exception = next(
            ((at, line) for at, line in unprefixed if line and not line.startswith((" ", "\t"))), None
        )
        if exception and not _LAUNCHER.match(exception[1]):
            at = exception[0]
            return at, _whole_message([line.removeprefix(begin[1]) for line in lines[at:]], 0)
    return -1, ""


def _last_member(lines: list[str], at: int) -> str:
    """Return the last exception without a traceback of the exception group that is printed from line `at`, or ""."""
    separators = (each for each in range(len(lines) - 2, at, -1) if _GROUP_MEMBER.match(lines[each]))
    return next((lines[each + 1].lstrip("| ").rstrip() for each in separators), "")


def _is_nonfatal(before: list[str]) -> bool:
    """Return whether a traceback did not end the program, judging by the two lines `before` it: asyncio prints a line
    in between."""
    return bool(before) and bool(
        _ASIDE.match(before[-1]) or "Task exception was never retrieved" in before[0]
    )


def _whole_message(lines: list[str], at: int) -> str:
    """Return the message that begins at a line, with the next lines if it announces them."""
    message = [lines[at].strip()]
    for line in lines[at + 1 : at + 4]:
        if not line.strip():
            if message[0].endswith(":") and len(message) == 1:
                continue  # `raise ValueError("\n\n…")`
            break
        if not (
            message[-1].endswith((":", "{", "[", "("))
            or (len(message) < 3 and _COUNT_OF_ERRORS.search(message[0]))
        ):
            break
        if _TRACEBACK.match(line) or _NOISE.fullmatch(line.strip()):
            break
        message.append(line.strip())
    return " ".join(message)


def _rich_exception(lines: list[str]) -> str:
    """Return the exception after the last traceback printed by the library rich, or ""."""
    for at in range(len(lines) - 1, -1, -1):
        if not _RICH_TRACEBACK.fullmatch(lines[at].strip()):
            continue
        end = next((each for each in range(at, len(lines)) if _RICH_END.fullmatch(lines[each].strip())), None)
        return next((line.strip() for line in lines[end + 1 :] if line.strip()), "") if end else ""
    return ""


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
            return at, _whole_message(lines, at)
        if _RICH_ERROR.fullmatch(line):
            box = itertools.takewhile(
                lambda each: not (_RICH_END.fullmatch(each.strip()) or _RICH_RULE.fullmatch(each.strip())),
                lines[at + 1 :],
            )
            return at, " ".join(text for each in box if (text := each.strip("│ \t")))
    return -1, ""


def _paragraph_before(lines: list[str], at: int) -> Iterator[str]:
    """Return the lines of the paragraph before line `at`."""
    end = at
    while end > 0 and not lines[end - 1].strip():
        end -= 1
    start = end
    while start > 0 and lines[start - 1].strip():
        start -= 1
    return (line.strip() for line in lines[start:end] if not _NOISE.fullmatch(line.strip()))
