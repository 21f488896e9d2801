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
from trialdeck.field_names import in_terms_of

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
    [("trial_concurency", "trial_concurrency"), ("maxTrialNumer", "maxTrialNumber"), ("tunner", "tuner")],
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
    for services in ([{"platform": "local"}], ["local"], "local"):
        assert ExperimentConfig(training_service=services).training_service.platform == "local"
    with pytest.raises(Invalid, match=r"\['local', 'remote'\] is not supported"):
        ExperimentConfig(training_service=[{"platform": "local"}, {"platform": "remote"}])


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
        ("list.json", "[1]", "must contain one object"),
        ("misspelt.json", '{"trialComand": "x"}', "Did you mean trialCommand?"),
    ],
)
def test_a_config_file_that_is_none_is_one_sentence(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=sentence.replace("?", r"\?")):
        ExperimentConfig.load(tmp_path / name)


@pytest.mark.parametrize(
    ("tuner", "direction"),
    [
        *((name, "minimize") for name in ("TPE", "tpe", "TPE_legacy", "TPESampler", "Anneal", "AnnealTuner")),
        *(
            (name, "maximize")
            for name in ("Evolution", "Random", "GridSearch", "Batch", "GP", "Hyperband", "BOHB")
        ),
    ],
)
def test_without_optimize_mode_a_tuner_has_nnis_default(tuner, direction):
    """NNI-E2: TPE and Anneal minimize; and the client says so."""
    config = ExperimentConfig("local", tuner={"name": tuner}, **LEAST)
    assert config.settings()["direction"] == direction
    assert f"the metric is {direction}d, as by default in NNI's {tuner}." in config.notes()[0]
    for explicit in (
        {"direction": "maximize"},
        {"assessor": {"name": "Medianstop", "class_args": {"optimize_mode": "maximize"}}},
    ):
        config = ExperimentConfig("local", tuner={"name": tuner}, **explicit, **LEAST)
        assert config.settings()["direction"] == "maximize"
        assert not any("direction" in note for note in config.notes())


@pytest.mark.parametrize("tuner", ["CMA-ES", "NSGA-II", "QMC"])
def test_no_default_of_nni_is_claimed_for_a_tuner_that_nni_lacks(tuner):
    """NNI-E2: the direction is said all the same."""
    (note,) = ExperimentConfig("local", tuner={"name": tuner}, **LEAST).notes()
    assert note == "No direction is set (optimize_mode or direction): the metric is maximized."


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"tuner": {"name": "TPE", "class_args": [1]}},
            "tuner.class_args: This must be a dict of arguments, not [1].",
        ),
        ({"assessor": {"name": "Medianstop", "classArgs": "x"}}, "assessor.classArgs: This must be a dict"),
        (
            {"advisor": {"name": "BOHB"}, "tuner": {"name": "TPE"}},
            "advisor: An advisor is a tuner with early stopping",
        ),
        ({"advisor": {"name": "BOHB"}, "assessor": {"name": "Medianstop"}}, "stopping: remove assessor."),
    ],
)
def test_a_tuner_that_cannot_be_read_is_named(fields, sentence):
    """NNI-E1: neither a TypeError nor one of two tuners that is ignored."""
    with pytest.raises(Invalid) as error:
        ExperimentConfig("local", **fields, **LEAST).settings()
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message", "expected"),
    [
        (
            {"tuner": {"name": "Hyperband", "class_args": {"R": 0}}},
            "max_resource: Must be between 1 and 9.",
            "tuner.class_args: R: Must be between 1 and 9.",
        ),
        (
            {"advisor": {"name": "BOHB", "classArgs": {"max_budget": 1, "min_budget": 3}}},
            "max_resource: max_resource (1) must be at least min_resource (3).",
            "advisor.classArgs: max_budget: max_budget (1) must be at least min_budget (3).",
        ),
        (
            {"tuner": {"name": "TPE"}, "assessor": {"name": "Hyperband"}},
            "max_resource: Must be between 1 and 9.",
            "assessor.class_args: max_resource: Must be between 1 and 9.",
        ),
    ],
)
def test_brackets_are_refused_by_the_tuners_names(fields, message, expected):
    """NNI-E1: where no assessor was written."""
    with pytest.raises(Invalid) as error, in_terms_of(ExperimentConfig("local", **fields, **LEAST)):
        raise Invalid("", status=422, fields={"early_stopping_arguments": [message]})
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("tuner", "arguments", "rule"),
    [
        (
            "Hyperband",
            {"R": 81, "eta": 3, "exec_mode": "parallelism"},
            {"max_resource": 81, "reduction_factor": 3},
        ),
        ("BOHB", {"min_budget": 1, "max_budget": 9}, {"min_resource": 1, "max_resource": 9}),
    ],
)
def test_brackets_of_nnis_advisors_become_early_stopping(tuner, arguments, rule):
    """NNI-S2: an advisor of NNI is a tuner and an early-stopping rule here."""
    for field in ("tuner", "advisor"):
        config = ExperimentConfig("local", **{field: {"name": tuner, "class_args": arguments}}, **LEAST)
        checked = Settings.checked(config.settings())
        assert (checked.algorithm, checked.early_stopping) == (tuner, "Hyperband")
        assert checked.early_stopping_arguments == rule
        assert "TRIAL_BUDGET" in config.notes()[-1]


V1 = """
authorName: alice
experimentName: mnist
trialConcurrency: 2
maxExecDuration: 1h
maxTrialNum: 10
#choice: local, remote, pai
trainingServicePlatform: local
searchSpacePath: space.json
useAnnotation: false
multiPhase: false
logLevel: info
tuner:
  builtinTunerName: TPE
  classArgs:
    optimize_mode: maximize
assessor:
  builtinAssessorName: Medianstop
  classArgs:
    optimize_mode: maximize
    start_step: 5
trial:
  command: python3 mnist.py
  codeDir: code
  gpuNum: 0
localConfig:
  useActiveGpu: true
"""


def test_a_file_of_nnictls_first_version_is_converted(tmp_path):
    """NNI-E2: and the client says what it made of it."""
    (tmp_path / "config.yml").write_text(V1)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    config = ExperimentConfig.load(tmp_path / "config.yml")
    assert config.experiment_name == "mnist" and config.training_service.use_active_gpu is True
    assert config.settings() == {
        "command": "python3 mnist.py",
        "directory": str(tmp_path / "code"),
        "space_document": SPACE,
        "concurrency": 2,
        "gpus": 0,
        "max_duration_s": 3600,
        "max_trials": 10,
        "direction": "maximize",
        "algorithm": "TPE",
        "early_stopping": "Medianstop",
        "early_stopping_arguments": {"start_step": 5},
    }
    (note,) = config.notes()
    assert "nnictl's first version" in note
    assert "trial.codeDir is trial_code_directory" in note and note.endswith("without effect: authorName.")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("trial: {comand: x}", "no field 'trial.comand'. Did you mean trial.command?"),
        ("trial: {codeDir: .}", "trial.command: Set the command that runs a trial."),
        ("trial: python train.py", "trial: This must be an object of fields."),
        ("maxExecDuration: soon", "maxExecDuration: This must be a time"),
        ("multiPhase: true", "multiPhase: Trials that request several sets of values"),
        ("useAnnotation: true", "useAnnotation: Annotations are not supported"),
        ("trainingServicePlatform: pai\nmachineList: []", "The training service 'pai' is not supported"),
        (
            "tuner: {builtinTunerName: TPE, classArgs: {optimize_mode: max}}",
            "tuner.classArgs.optimize_mode: This must",
        ),
        ("tuner: {className: Mine, codeDir: ., classFileName: mine.py}", "tuner: Custom algorithms"),
        ("maxTrialNumm: 3", "no field 'maxTrialNumm'. Did you mean maxTrialNum?"),
    ],
)
def test_errors_name_the_fields_of_the_first_version(tmp_path, line, sentence):
    (tmp_path / "config.yml").write_text(f"authorName: alice\nsearchSpacePath: space.json\n{line}\n")
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    with pytest.raises(Error) as error:
        config = ExperimentConfig.load(tmp_path / "config.yml")
        if "trial:" not in line:
            config.trial_command = "true"
        config.settings()
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("document", "setting", "field"),
    [
        ({"trialConcurrency": 0}, "concurrency", "trialConcurrency"),
        ({"trial_concurrency": 0}, "concurrency", "trial_concurrency"),
        ({"concurrency": 0}, "concurrency", "concurrency"),
        ({"searchSpaceFile": "a.json"}, "space_document", "searchSpaceFile"),
        ({"tuner": {"name": "TPE", "classArgs": {}}}, "algorithm_arguments", "tuner.classArgs"),
        ({"advisor": {"name": "BOHB"}}, "algorithm", "advisor.name"),
        ({"tuner": {"class_args": {"seed": -1}}}, "seed", "tuner.class_args.seed"),
        ({"seed": -1}, "seed", "seed"),
        ({"other_settings": {"image": 3}}, "image", "other_settings.image"),
        ({"authorName": "a", "maxTrialNum": 0}, "max_trials", "maxTrialNum"),
        ({"maxTrialNumber": 1}, "gpus", "trialGpuNumber"),
        ({}, "gpus", "trial_gpu_number"),
        ({}, "name", "experiment_name"),
    ],
)
def test_an_error_of_the_console_names_the_callers_field(document, setting, field):
    """NNI-E1: what the caller wrote, in Python or in a file."""
    with pytest.raises(Invalid) as error, in_terms_of(ExperimentConfig(document)):
        raise Invalid(f"{setting}: Wrong.", status=422, fields={setting: ["Wrong."]})
    assert (error.value.fields, error.value.status) == ({field: ["Wrong."]}, 422)
    assert str(error.value) == f"{field}: Wrong."


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"trialCommand": "true", "searchSpaceFile": "space.json"}, "searchSpaceFile"),
        ({"authorName": "a", "searchSpacePath": "space.json"}, "searchSpacePath"),
        ({"trial_command": "true", "search_space_file": "space.json"}, "search_space_file"),
    ],
)
def test_a_field_of_a_file_keeps_its_name_in_errors(tmp_path, document, field):
    """NNI-E1: the paths in a file are made absolute, which is not the writer's doing."""
    (tmp_path / "config.json").write_text(json.dumps(document))
    with (
        pytest.raises(Invalid, match=f"^{field}: Wrong."),
        in_terms_of(ExperimentConfig.load(tmp_path / "config.json")),
    ):
        raise Invalid("", fields={"space_document": ["Wrong."]})


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


def test_objectives_are_metrics_with_directions():
    """TD-C9: as a mapping, or as two lists."""
    wanted = {
        "metric": "accuracy",
        "direction": "maximize",
        "further_objectives": {"latency_ms": "minimize"},
    }
    mapping = settings(objectives={"accuracy": "maximize", "latency_ms": "minimize"})
    lists = settings(objectives=["accuracy", "latency_ms"], directions=["maximize", "minimize"])
    names = settings(metric="accuracy", direction="maximize", further_objectives={"latency_ms": "minimize"})
    for each in (mapping, lists, names):
        assert {name: each[name] for name in wanted} == wanted
    assert settings(objectives={"loss": "minimize"})["direction"] == "minimize"
    assert "further_objectives" not in settings(metric="accuracy")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"objectives": ["a", "b"]}, "directions: Set a direction for each of the 2 objectives."),
        ({"objectives": ["a", "a"], "directions": ["maximize"] * 2}, "objectives: A metric is listed twice."),
        ({"objectives": "accuracy"}, "objectives: This must map metrics to directions"),
        ({"objectives": {}}, "objectives: This must map metrics to directions"),
        ({"directions": ["maximize"]}, "directions: Set directions only if objectives is a list"),
        (
            {"objectives": {"a": "maximize"}, "metric": "b"},
            "Set objectives, or metric and direction, not both.",
        ),
    ],
)
def test_objectives_that_cannot_be_read_are_named(options, sentence):
    """TD-C9"""
    assert sentence in error_of(**options)
