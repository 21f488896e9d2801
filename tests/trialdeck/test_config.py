"""NNI-E2: the configuration, in NNI's words, and what of it Trialdeck is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import trialdeck
from experiments.models import Settings
from tests.people import make_settings
from trialdeck import AlgorithmConfig, Error, ExperimentConfig, Invalid, LocalConfig

SPACE = {"lr": {"_type": "loguniform", "_value": [0.0001, 0.1]}}
LEAST = {"trial_command": "python train.py", "search_space": SPACE}


def settings(**options: object) -> dict:
    return ExperimentConfig("local", **{**LEAST, **options}).settings()


def error_of(**options: object) -> str:
    with pytest.raises(Error) as error:
        settings(**options)
    return str(error.value)


def test_both_spellings_are_one_field():
    """NNI-E1: snake_case of Python, camelCase of config files, whatever the case."""
    config = ExperimentConfig("local")
    config.trialConcurrency = 3
    config.MAX_TRIAL_NUMBER = 7
    assert (config.trial_concurrency, config.maxTrialNumber) == (3, 7)
    config.tuner.name = "TPE"
    config.tuner.class_args["optimize_mode"] = "minimize"
    assert config.tuner.classArgs == {"optimize_mode": "minimize"}
    assert config.training_service.platform == "local"
    assert ExperimentConfig("local").tuner.class_args == {}  # not shared between configurations
    again = ExperimentConfig(json.loads(json.dumps(config.json())))
    assert again == config


@pytest.mark.parametrize(
    ("options", "nearest"),
    [("trial_concurency", "trial_concurrency"), ("maxTrialNumer", "max_trial_number"), ("tunner", "tuner")],
)
def test_a_misspelt_field_names_the_nearest(options, nearest):
    with pytest.raises(AttributeError, match=rf"no field '{options}'. Did you mean {nearest}\?") as error:
        ExperimentConfig({options: 1})
    assert isinstance(error.value, Error)
    with pytest.raises(Error, match="no field 'class_arg'. Did you mean class_args"):
        ExperimentConfig(tuner={"name": "TPE", "class_arg": {}})
    with pytest.raises(Error, match="no field"):
        setattr(ExperimentConfig(), options, 1)


def test_it_becomes_the_settings_of_the_console(tmp_path, monkeypatch):
    """NNI-E2: names and units of the one as those of the other; what is not said is left to the console."""
    monkeypatch.chdir(tmp_path)
    assert settings() == {
        "command": "python train.py",
        "directory": str(tmp_path),
        "space_document": SPACE,
        "max_trials": None,
    }
    everything = settings(
        trial_code_directory="code",
        trial_concurrency=4,
        max_trial_number=30,
        max_experiment_duration="0.5h",
        maxTrialDuration=90,
        tuner=AlgorithmConfig(name="TPE", class_args={"optimize_mode": "minimize", "seed": 7, "gamma": 0.2}),
        assessor={"name": "Medianstop", "classArgs": {"optimize_mode": "minimize", "start_step": 5}},
        trial_gpu_number=0,
        trial_cores=2,
        trial_memory="1.5 GiB",
        environment={"A": "1"},
        metric="loss",
        goal=0.1,
        training_service=LocalConfig(use_active_gpu=True),
    )
    assert everything == {
        "command": "python train.py",
        "directory": str(tmp_path / "code"),
        "space_document": SPACE,
        "environment": {"A": "1"},
        "concurrency": 4,
        "gpus": 0,
        "cores": 2,
        "memory_mib": 1536,
        "max_trials": 30,
        "max_duration_s": 1800.0,
        "max_trial_duration_s": 90,
        "direction": "minimize",
        "algorithm": "TPE",
        "algorithm_arguments": {"gamma": 0.2},
        "seed": 7,
        "early_stopping": "Medianstop",
        "early_stopping_arguments": {"start_step": 5},
        "metric": "loss",
        "goal": 0.1,
    }
    assert settings(trial_code_directory="~/code")["directory"] == "~/code"
    assert "directory" not in settings(trial_code_directory=None)  # a fresh folder for each trial
    document = ExperimentConfig("local", name="first", queue="gpu", tags=["a"], **LEAST).document(start=True)
    assert (document["name"], document["queue"], document["tags"], document["start"]) == (
        "first",
        "gpu",
        ["a"],
        True,
    )


def test_every_setting_of_the_console_can_be_given_and_comes_back():
    """NNI-E1: also those that came after this package was written."""
    options = make_settings(
        environment={"A": "1"},
        goal=0.9,
        max_duration_s=60,
        early_stopping="Medianstop",
        early_stopping_arguments={"start_step": 3},
        algorithm="TPE",
        algorithm_arguments={"n_startup_trials": 5},
        constraints=["layers < 3 or lr > 0.001"],
        fixed={"layers": 2},
        starting_points=[{"lr": 0.01}],
        directory="/srv/code",
        image="python:3.11",
        cores=2,
        memory_mib=512,
    ).document()
    again = ExperimentConfig.of({"name": "first", "settings": options}).settings()
    assert Settings.checked(again).document() == options


@pytest.mark.parametrize("text", ["10 minutes", "", "m", "-1m", [], True])
def test_a_time_that_is_none_is_refused(text):
    assert error_of(max_experiment_duration=text).startswith(
        "max_experiment_duration: This must be a time such as '90s'"
    )


@pytest.mark.parametrize("size", ["much", True, "-1", "4 B"])
def test_a_size_that_is_none_is_refused(size):
    """TD-F8: and a number is GiB, with or without a unit it is one size."""
    assert error_of(trial_memory=size).startswith("trial_memory: This must be a size such as '4 GiB'")
    assert settings(trial_memory=4) == settings(trial_memory="4096MB") == settings(trial_memory="4G")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trial_command": None}, "trial_command: Set the command"),
        ({"search_space": None}, "search_space: Set a search space."),
        ({"search_space_file": "space.json"}, "search_space or search_space_file, not both"),
        ({"use_annotation": True}, "Annotations are not supported"),
        ({"experiment_type": "nas"}, "Only 'hpo' is supported"),
        ({"tuner": {"class_name": "mine.Tuner"}}, "Use the name of a built-in one"),
        (
            {"tuner": {"name": "TPE", "class_args": {"optimize_mode": "max"}}},
            "'maximize' or 'minimize', not 'max'",
        ),
        (
            {
                "tuner": {"name": "TPE", "class_args": {"optimize_mode": "maximize"}},
                "assessor": {"name": "Medianstop", "class_args": {"optimize_mode": "minimize"}},
            },
            "Conflicting directions: tuner: maximize, assessor: minimize",
        ),
        ({"tuner": "TPE"}, "This must be an object such as AlgorithmConfig"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_sent(options, sentence):
    assert sentence in error_of(**options)


@pytest.mark.parametrize("platform", ["remote", "openpai", "kubeflow", ["local", "remote"]])
def test_another_training_service_names_our_way(platform):
    """NNI-E4: a worker on that machine, and a queue."""
    for make in (
        lambda: ExperimentConfig(platform),
        lambda: ExperimentConfig(training_service={"platform": platform}),
    ):
        with pytest.raises(Invalid, match="trialdeck worker --queue NAME") as error:
            make()
        assert repr(platform) in str(error.value)
    assert ExperimentConfig(["local"]).training_service.platform == "local"


def test_a_file_is_relative_to_its_folder(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    document = {
        "trialCommand": "python train.py",
        "searchSpaceFile": "space.json",
        "trialCodeDirectory": "code",
        "trialConcurrency": 2,
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "config.yml").write_text("\n".join(f"{name}: {value}" for name, value in document.items()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("config.json", "config.yml"):
        loaded = ExperimentConfig.load(tmp_path / name).settings()
        assert (loaded["directory"], loaded["space_document"]) == (str(tmp_path / "code"), SPACE)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("gone.json", None, "cannot be read: No such file"),
        ("bad.json", "{", "is not valid JSON"),
        ("bad.yml", "a: [", "is not valid YAML"),
        ("list.json", "[1]", "must hold one object"),
        ("misspelt.json", '{"trialComand": "x"}', "Did you mean trial_command?"),
    ],
)
def test_a_config_file_that_is_none_is_one_sentence(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=sentence.replace("?", r"\?")):
        ExperimentConfig.load(tmp_path / name)


def test_yaml_without_pyyaml_is_one_sentence(tmp_path):
    (tmp_path / "config.yml").write_text("trialCommand: python train.py")
    script = """
import sys, trialdeck
sys.modules["yaml"] = None
try:
    trialdeck.ExperimentConfig.load("config.yml")
except trialdeck.Error as error:
    print(error)
"""
    env = {"PYTHONPATH": str(Path(trialdeck.__file__).parents[1]), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "needs PyYAML. Run `pip install pyyaml`, or write the file as JSON" in done.stdout, done.stderr
