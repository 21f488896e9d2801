"""The arguments that are read from a script, and the rows that they become."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from trialdeck.script import Script, ScriptError, read_script, read_script_file, suggestion


def read(text: str) -> Script:
    return read_script(dedent(text), "train.py")


def rows(script: Script) -> dict[str, tuple]:
    """(type, values) of each row that is searched at once."""
    suggestions = [suggestion(argument, script) for argument in script.arguments]
    return {row.name: (row.type, row.values) for row in suggestions if row.is_searched}


def fixed(script: Script) -> dict[str, str]:
    """Why each of the other rows is not searched."""
    suggestions = [suggestion(argument, script) for argument in script.arguments]
    return {row.name: row.reason for row in suggestions if not row.is_searched}


ARGPARSE = """
    import argparse
    from pathlib import Path

    LR = 1e-3
    MODELS = {"small": build_small, "large": build_large}

    def str2bool(text):
        return text.lower() in ("true", "1")

    parser = argparse.ArgumentParser()
    group = parser.add_argument_group("optimizer")
    group.add_argument("--lr", "--learning-rate", type=float, default=LR, help="step size")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=2**7)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--model", choices=sorted(MODELS), default="small")
    parser.add_argument("--depth", type=int, choices=range(1, 4))
    parser.add_argument("--nesterov", action="store_true")
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--bias", type=str2bool, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="data/train.csv")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--untyped", default=0.5)
    parser.add_argument("--broken", type=bool, default=False)
    parser.add_argument("--version", action="version", version="1")
"""


def test_arguments_of_argparse_become_rows_around_their_defaults():
    """TD-D7: a logarithmic scale for small numbers, powers of two for batch sizes, choices as they are."""
    script = read(ARGPARSE)
    assert (script.framework, script.passes_arguments, script.boolean_style) == ("argparse", True, "flag")
    assert rows(script) == {
        "lr": ("loguniform", [1e-5, 1e-1]),
        "batch-size": ("choice", [16, 32, 64, 128, 256]),
        "hidden": ("lograndint", [32, 513]),
        "layers": ("randint", [1, 7]),
        "dropout": ("uniform", [0.0, 0.5]),
        "momentum": ("uniform", [0.5, 0.99]),
        "weight-decay": ("loguniform", [1e-6, 1e-2]),
        "optimizer": ("choice", ["adam", "sgd"]),
        "model": ("choice", ["large", "small"]),
        "depth": ("choice", [1, 2, 3]),
        "nesterov": ("choice", [True, False]),
        "alpha": ("uniform", [0.0, 1.0]),
    }
    first = script.arguments[0]
    assert (first.default, first.help, first.line, first.option) == (0.001, "step size", 13, "--lr")


def test_paths_seeds_and_loudness_stay_as_they_are():
    """TD-D7"""
    reasons = fixed(read(ARGPARSE))
    assert reasons.pop("untyped") == "Without a type, the script receives it as text."
    assert "reads every text, also False, as true" in reasons.pop("broken")
    assert reasons == {
        "bias": "other notation of booleans",
        "seed": "seed",
        "data": "path",
        "out": "path",
        "verbose": "output",
        "sizes": "list",
    }


def test_the_arguments_of_the_subcommand_in_the_command_count():
    text = """
        sub = parser.add_subparsers()
        train = sub.add_parser("train")
        train.add_argument("--lr", type=float, default=0.1)
        test = sub.add_parser("test")
        test.add_argument("--threshold", type=float, default=0.5)
    """
    chosen = read_script(dedent(text), command_arguments=("train", "--fast"))
    assert [argument.name for argument in chosen.arguments] == ["lr"] and not chosen.notes
    assert "subcommands (train, test)" in read(text).notes[0]


def test_shared_keywords_and_later_defaults_are_read():
    script = read(
        """
        common = dict(type=float, default=0.01)
        parser.add_argument("--lr", **common)
        parser.add_argument("--eps", **{"type": float, "default": 1})
        parser.set_defaults(eps=1e-8)
        for name in names:
            parser.add_argument(f"--{name}")
        """
    )
    assert [(argument.name, argument.default) for argument in script.arguments] == [
        ("lr", 0.01),
        ("eps", 1e-8),
    ]
    assert script.notes == ("Line 7: the name of this argument is computed when the script runs.",)


def test_options_of_click_keep_their_ranges():
    """TD-D7"""
    script = read(
        """
        import click, enum
        class Kind(enum.Enum):
            A = "a"
            B = "b"
        @click.command()
        @click.option("--lr", default=0.01, show_default=True)
        @click.option("--layers", type=click.IntRange(1, 10), default=3)
        @click.option("--units", type=click.IntRange(min=16), default=32)
        @click.option("--share", type=click.FloatRange(0, 1), default=0.3)
        @click.option("--gain", type=click.FloatRange(1e-4, 10), default=0.3)
        @click.option("--kind", type=click.Choice(["a", "b"]))
        @click.option("--kind2", type=click.Choice(Kind))
        @click.option("--bias/--no-bias", default=True)
        @click.option("--quiet", is_flag=True)
        @click.argument("data", type=click.Path())
        def main(**options): ...
        """
    )
    assert (script.framework, script.boolean_style) == ("click", "no_flag")
    assert rows(script) == {
        "lr": ("loguniform", [1e-4, 1.0]),
        "layers": ("randint", [1, 11]),
        "units": ("lograndint", [16, 129]),
        "share": ("uniform", [0.0, 1.0]),
        "gain": ("loguniform", [1e-4, 10.0]),
        "kind": ("choice", ["a", "b"]),
        "kind2": ("choice", ["a", "b"]),
        "bias": ("choice", [True, False]),
    }


CLICK_GROUP = """
    import click
    @click.group()
    @click.option("--seed", default=1)
    def cli(seed): ...
    @cli.command()
    @click.option("--lr", default=0.01)
    def train_model(lr): ...
    @cli.command("check")
    @click.option("--lr", type=click.Choice(["low", "high"]))
    @click.option("--k", default=3)
    def evaluate(lr, k): ...
"""


def test_of_a_click_group_the_command_in_the_line_counts():
    """TD-D7: the options of other commands are not its own, and those of the group come before the command."""
    train = read_script(dedent(CLICK_GROUP), "train.py", command_arguments=("train-model",))
    assert [(each.name, each.default) for each in train.arguments] == [("lr", 0.01)] and train.notes == ()
    check = read_script(dedent(CLICK_GROUP), "train.py", command_arguments=("check",))
    assert [(each.name, each.choices) for each in check.arguments] == [("lr", ("low", "high")), ("k", ())]
    neither = read_script(dedent(CLICK_GROUP), "train.py")
    assert neither.notes == (
        "The script has several commands (train-model, check). Add one of them to the command.",
    )
    only = read_script(dedent(CLICK_GROUP).partition('@cli.command("check")')[0], "train.py")
    assert only.notes == ("The script has the command train-model. Add it to the command.",)


def test_annotated_functions_of_typer_are_read():
    """TD-D7"""
    script = read(
        """
        import typer
        from enum import Enum
        from typing import Annotated, Literal, Optional
        class Opt(str, Enum):
            adam = "adam"
            sgd = "sgd"
        def main(
            data: str,
            lr: float = 1e-3,
            layers: Annotated[int, typer.Option(min=1, max=8)] = 2,
            opt: Opt = Opt.adam,
            act: Literal["relu", "tanh"] = "relu",
            bias: bool = True,
            batch: int = typer.Option(32, "--batch-size", help="rows"),
            width: Optional[int] = None,
        ): ...
        typer.run(main)
        """
    )
    assert (script.framework, script.boolean_style) == ("typer", "no_flag")
    assert rows(script) == {
        "lr": ("loguniform", [1e-5, 1e-1]),
        "layers": ("randint", [1, 9]),
        "opt": ("choice", ["adam", "sgd"]),
        "act": ("choice", ["relu", "tanh"]),
        "bias": ("choice", [True, False]),
        "batch-size": ("choice", [8, 16, 32, 64, 128]),
    }
    assert fixed(script) == {"data": "path", "width": "no default"}


def test_keys_of_a_hydra_configuration_are_read(tmp_path):
    """TD-D7: nested keys, 1e-3 as a number, and a group of files as a choice."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text("hidden: 64\n")
    (tmp_path / "conf" / "model" / "large.yaml").write_text("hidden: 256\n")
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults:\n  - model: small\n  - _self_\noptimizer:\n  lr: 1e-3\nseed: 1\nbias: true\nroot: ${hydra:cwd}/x\n"
    )
    path = tmp_path / "train.py"
    path.write_text(
        'import hydra\n@hydra.main(config_path="conf", config_name="config")\ndef main(cfg): ...\n'
    )
    script = read_script_file(path)
    assert (script.framework, script.argument_style) == ("hydra", "assignment")
    assert rows(script) == {
        "model": ("choice", ["large", "small"]),
        "optimizer.lr": ("loguniform", [1e-5, 1e-1]),
        "bias": ("choice", [True, False]),
    }
    assert fixed(script)["model.hidden"] == "Only with model=small."
    (tmp_path / "conf" / "config.yaml").unlink()
    assert (
        read_script_file(path).notes[0]
        == "The configuration conf/config.yaml cannot be read beside the script."
    )


@pytest.mark.parametrize(
    ("framework", "text"),
    [
        ("fire", "def train(lr=0.001, layers: int = 3): ...\nfire.Fire(train)"),
        ("absl", 'flags.DEFINE_float("lr", 0.001, "")\nflags.DEFINE_integer("layers", 3, "")'),
        (
            "dataclass",
            "class A:\n    lr: float = field(default=0.001)\n    layers: int = 3\nHfArgumentParser(A)",
        ),
        ("tyro", "class A:\n    lr: float = 0.001\n    layers: int = 3\ntyro.cli(A)"),
        ("nni", 'p = {"lr": 0.001, "layers": 3}\np.update(nni.get_next_parameter())'),
        ("trialdeck", 'D = {"lr": 0.001, "layers": 3}\np = {**D, **trialdeck.get_next_parameter()}'),
        ("trialdeck", 'p = get_next_parameter()\nf(p.get("lr", 0.001), p.get("layers", 3))'),
        (
            "trialdeck",
            'LR = trialdeck.get_next_parameter().get("lr", 0.001)\nf(trialdeck.get_next_parameter().get("layers", 3))',
        ),
        ("clearml", 'p = {"lr": 0.001, "layers": 3}\ntask.connect(p)'),
        ("omegaconf", 'c = OmegaConf.create({"lr": 0.001, "layers": 3})\nOmegaConf.from_cli()'),
    ],
)
def test_parameters_of_other_libraries_are_read(framework, text):
    """TD-D7"""
    script = read(text)
    assert script.framework == framework
    assert rows(script) == {"lr": ("loguniform", [1e-5, 1e-1]), "layers": ("randint", [1, 7])}
    assert script.passes_arguments is (framework not in ("nni", "trialdeck", "clearml"))


def test_the_note_of_a_script_with_constants_says_how_to_search_them():
    """TD-D7: the line in the note makes the constant an argument."""
    text = (
        'NAME, _N = "x", 1\n\n_SEED = 1\nDEBUG = True\nLR = 0.01\nbatch = 32\nA = 1\nB = 2\nprint("acc", LR)'
    )
    none, note = read(text).notes
    assert none.startswith("No arguments were recognized.")
    assert note.startswith("Constants are not changed: LR, batch, A and 1 more.") and "in line 5: " in note
    line = note.partition("in line 5: ")[2].partition(", with import")[0]
    script = read(text.replace("LR = 0.01", line))
    assert [(argument.name, argument.default) for argument in script.arguments] == [("lr", 0.01)]
    assert read('print("acc", 1)').notes == (none,)


def test_arguments_in_a_module_beside_the_script_are_read(tmp_path):
    (tmp_path / "options.py").write_text('def add(p):\n    p.add_argument("--lr", type=float, default=0.1)\n')
    (tmp_path / "train.py").write_text("from options import add\n")
    script = read_script_file(tmp_path / "train.py")
    assert [argument.name for argument in script.arguments] == ["lr"]
    assert script.notes == ("The arguments are those of options.py.",)


def test_a_script_cannot_lead_to_files_outside_its_folder(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text("password: hunter2\n")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    for name in ("../secret", "link", str(tmp_path / "secret")):
        (folder / "train.py").write_text(
            f'@hydra.main(config_path=".", config_name="{name}")\ndef main(c): ...\n'
        )
        assert not read_script_file(folder / "train.py").arguments


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"def (", "train.py, line 1 is not valid Python"),
        (b"\0\1", "is not a text file"),
        (b"x = " + b"(" * 500, "is not valid Python"),
        (b"x = " + b"-" * 20000 + b"1", "is not a Python script that can be read"),
        (b"class A(A): ...\nHfArgumentParser(A)", "nested too deeply"),
        (b"#" * (1 << 20) + b"##", "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "train.py"
    path.write_bytes(content)
    with pytest.raises(ScriptError, match=sentence):
        read_script_file(path)


@pytest.mark.parametrize(
    ("name", "sentence"), [("none.py", "does not exist"), (".", "is a folder"), ("a.ipynb", "is a notebook")]
)
def test_what_is_no_script_is_a_sentence(tmp_path, name, sentence):
    with pytest.raises(ScriptError, match=sentence):
        read_script_file(Path(tmp_path / name))


def test_an_expression_that_grows_is_not_evaluated():
    text = "\n".join(f"a{level} = [{', '.join([f'a{level + 1}'] * 50)}]" for level in range(20))
    script = read(f"{text}\na20 = 1\np.add_argument('--x', choices=a0, default=9**9**9**9)")
    assert (script.arguments[0].choices, script.arguments[0].default) == ((), None)


def test_a_script_without_arguments_says_which_are_read():
    assert "Arguments of argparse, click, typer" in read("print(1)").notes[0]


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("", ("data", "out")),
        ("a.csv", ("out",)),
        ("--lr 0.1 a.csv --amp b", ()),
        ("--lr=0.1 a.csv b", ()),
        ("--lr 0.1", ("data", "out")),
        ("${data} $OUT", ()),
        ("-v a.csv b", ()),
    ],
)
def test_required_positional_arguments_that_the_command_lacks(command, missing):
    """TD-D7: every trial would fail without them."""
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("data")
        parser.add_argument("out", type=str)
        parser.add_argument("rest", nargs="*")
        parser.add_argument("--lr", type=float, default=0.1)
        parser.add_argument("--amp", action="store_true")
        parser.add_argument("-v", action="store_true")
        parser.parse_args()
    """
    assert read_script(dedent(text), "train.py", command_arguments=command.split()).missing == missing


def test_positional_arguments_of_a_subcommand_are_not_missing_from_another():
    text = """
        import argparse
        subparsers = argparse.ArgumentParser().add_subparsers()
        fit = subparsers.add_parser("fit")
        fit.add_argument("data")
    """
    assert read_script(dedent(text), "train.py").missing == ()
