"""TD-F2: what the command means, checked against the real shell where values are quoted."""

import argparse
import re
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiments.runner.arguments import ArgumentStyle, arguments
from experiments.runner.command import WORDS, argv, check, render, text_of

NAMES = {"lr", "layers", "model/width"}
VALUES = {"lr": 0.1, "layers": [1, 2], "model/width": 3, **{word: f"<{word}>" for word in WORDS}}


def shell(script: str) -> subprocess.CompletedProcess:
    return subprocess.run(argv(script), capture_output=True, timeout=20)


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --lr ${lr} --layers=${layers} --out ${output_dir}/x",
        "python train.py --width ${model/width} ${trial_id} ${exp_id} ${params}",
        "echo $HOME ${HOME} ${HOME:-/root} ${PATH%%:*} $1 ${1} ${#} ${#PATH} $(nproc) $((1<<2)) $lr",
        'echo "$(python x.py ${lr})"',
        "echo ${OUT:-${output_dir}} ${lr}",
        'python train.py "${files[@]}" ${#files[@]} "${!files[@]}" ${name%.py} ${name:-x} ${lr}',
        'for name in a b; do echo "${name}" ${name/a/b}; done; python train.py ${lr}',
        'read -r first second; echo "${first}" ${second}; x+=1; echo "${x}"; mapfile -t all; echo "${all}"',
        'echo "$${name}" $${name/a/b} ${lr}',
        'if IFS= read -r name; then size=$(wc -c < x) other="a b" third=1; fi; echo ${name}${size} "${other}"${third}',
        'export A=1 b=2\necho "${b}"; while read -r k v; do echo ${k}${v}; done; x[1]=2; echo ${x[1]}',
        'echo "it costs \\${lr}" \\${lr}',
        "# ${nonsense} and an apostrophe: it's fine\npython train.py ${lr}",
        "python train.py ${lr} # trailing ${nonsense} isn't ours",
        "echo a#b ${lr}",
        "awk '{print ${x}}' file",
        "cat <<EOF > config\nplain text, it's fine\nEOF\npython train.py ${lr}",
        "cat <<< ${lr}",
        "for i in 1 2; do\n  echo $i ${lr}\ndone",
    ],
)
def test_a_good_command_has_no_faults(command):
    assert check(command, NAMES) == []


@pytest.mark.parametrize(
    ("command", "line", "words"),
    [
        ('python train.py --lr "${lr}"', 1, "is in quotes"),
        ("set -x\npython train.py --lr '${lr}'", 2, "is in quotes"),
        ("python $'it\\'s ${lr}'", 1, "is in quotes"),
        ('echo "${OUT:-${lr}}"', 1, "is in quotes"),
        ("echo `python x.py ${lr}`", 1, "backticks"),
        ("cat <<EOF\na: 1\nlr: ${lr}\nEOF\npython train.py", 3, "here-document"),
        ("python train.py --layers ${layer}", 1, r"Did you mean \$\{layers\}\?"),
        ("python train.py ${LAYers}", 1, "is not a parameter"),
        ("python train.py ${path/a/b}", 1, r"Write a shell expression as \$\$\{path/a/b\}"),
        ("python train.py ${lr:-0.1}", 1, r"Use \$\{lr\}"),
        ("python train.py ratee=${ratee}", 1, "is not a parameter"),
        ("env ratee=1 python train.py; echo 'ratee=1'; echo for ratee ${ratee}", 1, "is not a parameter"),
        ('echo "${layers[@]}"', 1, r"Use \$\{layers\}"),
        ("python train.py ${qqqqqq}", 1, r"Available: .*\$\{lr\}.*Write a shell variable as \$qqqqqq"),
        ('echo "${qqqqqq}"', 1, "is not a parameter"),
        ("echo ok\necho 'never closed ${", 2, "' opened here is never closed"),
        ('echo "never closed', 1, '" opened here is never closed'),
        ("echo ${lr", 1, r"\$\{ opened here is never closed"),
        ("", 1, "command is empty"),
        ("  \n# only a comment\n", 1, "command is empty"),
    ],
)
def test_a_fault_has_its_line_and_its_sentence(command, line, words):
    faults = check(command, NAMES)
    assert [fault.line for fault in faults] == [line]
    assert re.search(words, faults[0].message), faults[0].message


def test_what_check_refuses_is_not_rendered():
    with pytest.raises(ValueError, match="is in quotes"):
        render('echo "${lr}"', VALUES)
    with pytest.raises(ValueError, match="not a parameter"):
        render("echo ${no such}", VALUES)


anything = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    value=st.one_of(
        anything, st.floats(), st.integers(), st.booleans(), st.none(), st.lists(anything, max_size=3)
    )
)
@example("'; touch gone; '")
@example("$(reboot) `reboot` ${HOME} \\ \" ' \n # * ~ !")
@example("-n")
def test_any_value_reaches_the_program_as_one_word(value):
    """Quoted for the shell: bare, joined to a word, in a substitution, in a default, as an argument."""
    script = """
printf '%s\\0' ${lr}
printf '%s\\0' --lr=${lr}
printf '%s\\0' "$(printf '%s.' ${lr})"
printf '%s\\0' ${UNSET_HERE:-"x"}
printf '%s\\0'  # comment"""
    done = shell(render(script, {"lr": value}, append=arguments({"lr": value})))
    text = text_of(value)
    assert done.stderr == b""
    appended = arguments({"lr": value})
    assert done.stdout.decode().split("\0") == [text, f"--lr={text}", f"{text}.", "x", *appended, ""]


def test_values_are_written_as_a_program_wants_them():
    values = {"a": 1e-05, "b": True, "c": None, "d": [1, "x"], "e": "text", "f": 3, "g": {"k": 0.5}}
    assert arguments(values) == [
        "--a", "1e-05", "--b", "true", "--c", "null", "--d", '[1, "x"]', "--e", "text", "--f", "3", "--g", '{"k": 0.5}',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "rendered"),
    [
        ("python train.py\n\n", "python train.py --lr 0.1\n\n"),
        ("cd src\npython train.py --lr2 ${lr} # go", "cd src\npython train.py --lr2 0.1 --lr 0.1 # go"),
        ("python train.py # \\\n# more", "python train.py --lr 0.1 # \\\n# more"),
        ("python train.py \\\n  --epochs 3", "python train.py \\\n  --epochs 3 --lr 0.1"),
    ],
)
def test_arguments_are_appended_to_the_last_line(command, rendered):
    assert check(command, NAMES, as_arguments=True) == []
    assert render(command, VALUES, append=["--lr", "0.1"]) == rendered


@pytest.mark.parametrize(
    "command",
    [
        "python train.py &",
        "for i in 1 2; do\n  true\ndone",
        "if true; then\n  true\nfi",
        "cat <<EOF\nx\nEOF\n",
        "{ true; }",
    ],
)
def test_a_last_line_that_cannot_take_arguments_is_a_fault(command):
    assert [fault.line for fault in check(command, NAMES, as_arguments=True)] == [
        len(command.rstrip().split("\n"))
    ]
    assert check(command, NAMES) == []


def test_the_script_stops_at_the_first_line_that_fails():
    done = shell("echo one\nfalse\necho two")
    assert (done.stdout, done.returncode) == (b"one\n", 1)


@given(st.text(alphabet="ab \n'\"`\\$(){}#<E-lr:=", max_size=40))
def test_any_text_is_either_refused_or_rendered(command):
    names = {"lr", *WORDS}
    if not check(command, names):
        assert isinstance(render(command, VALUES | {"lr": 1}), str)


def test_the_shells_own_expansions_reach_the_shell():
    """TD-F2: an escaped one, too."""
    script = 'files=(a "b c")\nprintf "%s|" "${files[@]}" ${#files[@]} $${files[0]} ${lr}\n'
    done = shell(render(script, VALUES))
    assert (done.stdout.decode(), done.stderr) == ("a|b c|2|a|0.1|", b"")


def test_a_pipe_fails_with_any_of_its_programs():
    """TD-V6: unless the checkbox is off."""
    assert shell("false | cat").returncode == 1
    assert shell("sh -c 'exit 3' | tee /dev/null\necho never").returncode == 3
    assert subprocess.run(argv("false | cat", pipefail=False), check=False, timeout=20).returncode == 0


def test_without_bash_the_shell_decides(monkeypatch):
    """TD-V6: a shell without pipefail runs the script all the same."""
    monkeypatch.setattr("experiments.runner.command.shutil.which", lambda name: None)
    done = shell("echo it runs | cat")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"it runs\n", b"")


FLAGS = {"amp": True, "fast": False, "layers": [1, 2], "lr": -1e-05, "name": "a b"}


@pytest.mark.parametrize(
    ("style", "words"),
    [
        (ArgumentStyle(), "--amp true --fast false --layers|[1, 2] --lr=-1e-05 --name|a b"),
        (ArgumentStyle("equals"), "--amp=true --fast=false --layers=[1, 2] --lr=-1e-05 --name=a b"),
        (ArgumentStyle(booleans="flag", lists="spread"), "--amp --layers 1 2 --lr=-1e-05 --name|a b"),
        (
            ArgumentStyle(booleans="no_flag", lists="repeat"),
            "--amp --no-fast --layers 1 --layers 2 --lr=-1e-05 --name|a b",
        ),
        (ArgumentStyle("equals", "flag", "repeat"), "--amp --layers=1 --layers=2 --lr=-1e-05 --name=a b"),
        (ArgumentStyle("assignment", "flag"), "amp=true fast=false layers=[1,2] lr=-1e-05 name='a b'"),
    ],
)
def test_a_style_of_arguments(style, words):
    """TD-V8: the words of `words` are separated by | or, where unambiguous, by a space."""
    assert " ".join(arguments(FLAGS, style)) == words.replace("|", " ")
    assert len(arguments(FLAGS, style)) == len(
        words.replace("[1, 2]", "[]").replace("a b", "ab").replace("|", " ").split()
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("sgd", "sgd"),
        ("a,b", "'a,b'"),
        ("it's", r"'it\'s'"),
        ("1", "'1'"),
        ("True", "'True'"),
        ("", "''"),
        (True, "true"),
        (None, "null"),
        (["x,y", 1, None], "['x,y',1,null]"),
        ({"k": 0.5}, "{k:0.5}"),
        ("C:\\x\\", r"'C:\x\\'"),
    ],
)
def test_an_assignment_keeps_the_type_in_hydras_grammar(value, text):
    """TD-V8"""
    assert arguments({"k": value}, ArgumentStyle("assignment")) == [f"k={text}"]


@settings(max_examples=30, deadline=None)
@given(
    number=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    layers=st.lists(st.integers(), min_size=1),
)
def test_argparse_reads_what_is_passed(number, flag, layers):
    """TD-V8: a negative number in exponent notation, a flag, a list."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--layers", type=int, nargs="+")
    words = arguments(
        {"lr": number, "amp": flag, "layers": layers}, ArgumentStyle(booleans="flag", lists="spread")
    )
    assert vars(parser.parse_args(words)) == {"lr": number, "amp": flag, "layers": layers}


@pytest.mark.parametrize("piece", ['""', "$(a)", "a=1 ", "$", "x='", "(", "a=b", 'a="'])
def test_no_command_takes_exponential_time(piece):
    check("a=" + piece * 3000 + " ${x}", NAMES)
