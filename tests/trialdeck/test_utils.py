"""NNI-T1: the helpers of `nni.utils`, and the places from which programs import NNI's classes."""

import zipfile
from argparse import Namespace

import pytest

import trialdeck
from trialdeck import imports
from trialdeck.utils import merge_parameter


@pytest.mark.parametrize("kind", [dict, Namespace])
def test_parameters_replace_those_of_the_command_line(kind):
    base = kind(lr=0.1, layers=2, note=None)
    merged = merge_parameter(base, {"lr": 0.5, "note": "a"})
    assert merged is base
    assert (merged if kind is dict else vars(merged)) == {"lr": 0.5, "layers": 2, "note": "a"}
    assert merge_parameter(base, None) is base
    with pytest.raises(ValueError, match="no 'lt'"):
        merge_parameter(base, {"lt": 1})
    with pytest.raises(ValueError, match="'layers' must have the type int, not float"):
        merge_parameter(base, {"layers": 2.0})


@pytest.mark.parametrize("kind", [dict, Namespace])
def test_a_whole_number_is_one_for_an_argument_that_is_a_float(kind):
    """NNI-T1: of a choice such as [1, 0.1], which argparse's default 0.1 refused."""
    merged = merge_parameter(kind(lr=0.1), {"lr": 1})
    lr = (merged if kind is dict else vars(merged))["lr"]
    assert (lr, type(lr)) == (1.0, float)


def test_defaults_of_a_class_are_parameters_too():
    """NNI-T1: as in NNI, whatever has the attribute."""

    class Options:
        layers = 2

    assert merge_parameter(Options(), {"layers": 3}).layers == 3


def test_classes_are_where_nni_has_them():
    """NNI-E1: with `nni` replaced by `trialdeck`, the imports of a program work."""
    from trialdeck.experiment import Experiment, RunMode
    from trialdeck.experiment.config import AlgorithmConfig, ExperimentConfig, LocalConfig
    from trialdeck.experiment.data import TrialJob, TrialMetricData, TrialResult

    assert (Experiment, RunMode) == (trialdeck.Experiment, trialdeck.RunMode)
    assert ExperimentConfig("local").tuner == AlgorithmConfig()
    assert ExperimentConfig("local").training_service == LocalConfig()
    assert (TrialJob, TrialMetricData, TrialResult) == (
        trialdeck.TrialJob,
        trialdeck.TrialMetricData,
        trialdeck.TrialResult,
    )


def test_a_folder_of_mlflow_is_packed_without_its_artifacts(tmp_path):
    """TD-D8: `trialdeck import mlruns`."""
    run = tmp_path / "mlruns" / "1" / "abc"
    for name in ("meta.yaml", "params/lr", "metrics/acc", "artifacts/model.pt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    target = tmp_path / "target"
    target.mkdir()
    packed = imports._packed(tmp_path / "mlruns", target)
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
    assert packed.name == "mlruns.zip"
    assert names == [f"mlruns/1/abc/{name}" for name in ("meta.yaml", "metrics/acc", "params/lr")]
