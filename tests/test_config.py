"""Params files, overrides, and what is said when they are wrong."""

import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from reliability import hostile

from smooth_interpolation import config, locations
from smooth_interpolation.config import Experiment
from smooth_interpolation.errors import ConfigError

FILES = sorted((locations.repository() / "params").glob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_params_files_name_every_field_and_sit_where_they_say(path):
    experiment = config.load(path)
    assert (experiment.scale, experiment.experiment) == (path.parent.name, path.stem)
    assert experiment.overrides == () and experiment.name == experiment.experiment
    named = set(yaml.safe_load(path.read_text()))
    if "base" in named:
        assert named - {"base"} <= set(config.FIELDS)
        return
    assert set(config.FIELDS) - set(config.ADDED_DEFAULTS) <= named <= set(config.FIELDS)
    runs = experiment.runs()
    assert len(runs) == len(experiment.widths) * len(experiment.seeds) == len({run.path for run in runs})


def test_all_four_scales_exist():
    assert {p.parent.name for p in FILES} >= set(config.SCALES)


def test_place_and_digest_are_functions_of_the_configuration():
    experiment = config.find("demo", "convnet-noise20")
    run = experiment.run(15, 0)
    assert run.path.as_posix() == "demo/convnet-noise20/w015-s0.json"
    assert run.digest == config.find("demo", "convnet-noise20").run(15, 0).digest
    others = [
        experiment.run(15, 1),
        experiment.run(16, 0),
        config.find("demo", "convnet-noise20", {"delta": 0.2}).run(15, 0),
    ]
    assert len({run.digest, *(other.digest for other in others)}) == 4
    assert len({run.path, *(other.path for other in others)}) == 4


def test_overrides_name_their_records_and_equal_values_are_none():
    assert (
        config.find("demo", "convnet-noise20", {"epochs": 20, "n_evaluations": 5}).name
        == "convnet-noise20+epochs=20+n_evaluations=5"
    )
    same = yaml.safe_load(locations.params_file("demo", "convnet-noise20").read_text())
    assert config.find("demo", "convnet-noise20", {**same, "momentum": None}) == config.find("demo", "convnet-noise20")
    other_widths = config.find("demo", "convnet-noise20", {"widths": "[1, 3]", "seeds": [4]})
    assert other_widths.widths == (1, 3) and other_widths.seeds == (4,) and other_widths.name == "convnet-noise20"
    text = config.find("demo", "convnet-noise20", {"strengths": "[5, 20]", "learning_rate": "1e-3", "dataset": "1000"})
    assert (text.strengths, text.learning_rate, text.dataset) == ((5, 20), 0.001, "1000")
    odd = config.find("demo", "convnet-noise20", {"dataset": "a b"})
    assert odd.name == "convnet-noise20+dataset=a-b"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widht": 3}, "'widht' is not known; did you mean 'widths'"),
        ({"epochs": 0}, "epochs = 0: must be at least 1"),
        ({"epochs": 2.5}, "epochs"),
        ({"epochs": "many"}, "epochs = 'many'"),
        ({"epochs": True}, "epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"widths": []}, "widths"),
        ({"widths": [4, 2]}, "increase strictly"),
        ({"widths": [0, 1]}, "widths"),
        ({"strengths": [5, 5]}, "increase strictly"),
        ({"noise": "loud"}, "noise = 'loud'.*symmetric"),
        ({"noise": "none"}, "noise_fraction 0"),
        ({"noise": "asymmetric"}, "n_corrupted_classes"),
        ({"noise_fraction": 1.5}, "noise_fraction"),
        ({"optimizer": "lion"}, "sgd"),
        ({"precision": "fp16"}, "bf16"),
        ({"precision": "tf16"}, "one of bf16, tf32, fp32"),
        ({"n_evaluations": 0}, "n_evaluations"),
        ({"n_last_evaluations": 101}, "n_last_evaluations = 101: must be at most 100"),
        ({"n_last_evaluations": -1}, "n_last_evaluations = -1: must be at least 0"),
        ({"input_mean": [0.5, 0.5]}, "must hold three numbers, one per channel, not 2"),
        ({"input_mean": "[0.5, nan, 0.5]"}, "input_mean"),
        ({"input_mean": 0.5}, "input_mean = 0.5: must be a list"),
        ({"input_std": [0.2, 0, 0.2]}, "value 2 .0. must be at least 1e-06"),
        ({"input_std": [0.2, -0.2, 0.2]}, "value 2 .-0.2. must be at least 1e-06"),
        ({"n_clean_points": 0, "n_noisy_points": 0}, "cannot both be 0"),
        ({"dataset": "cifar100"}, "100 classes"),
        ({"n_train": None, "overrides": ["x"]}, "overrides"),
    ],
)
def test_bad_values_are_one_sentence(change, words):
    with pytest.raises(ConfigError, match=words) as caught:
        config.find("demo", "convnet-noise20", change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), hostile.PARAMS)
def test_a_bad_file_is_one_sentence_with_line_value_and_what_is_allowed(text, words, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_are_read_as_yaml_1_2_has_them(tmp_path):
    path = tmp_path / "x.yaml"
    for text, number in (("1e-3", 1e-3), ("2E1", 20.0), ("1.5e0", 1.5), (".5e+1", 5.0), ("1_0.5", 10.5)):
        path.write_text(hostile.edited(learning_rate=text))
        assert config.load(path).learning_rate == number
    path.write_text(hostile.edited(learning_rate="1e-3x"))
    with pytest.raises(ConfigError, match="learning_rate = '1e-3x': must be a number"):
        config.load(path)


def test_what_is_no_file_of_text_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "utf16").write_bytes("a: 1".encode("utf-16"))
    cases = {
        tmp_path: "Is a directory",
        tmp_path / "pipe": "not a regular file",
        "/dev/zero": "not a regular file",
        tmp_path / "utf16": "not UTF-8 text",
        tmp_path / "a\0b": "No such file",
        tmp_path / "none.yaml": "No such file",
        "params/dmeo/convnet-noise20.yaml": "did you mean 'params/demo/convnet-noise20.yaml'?",
    }
    for path, words in cases.items():
        with pytest.raises(ConfigError, match=f"Cannot read .*{words}"):
            config.load(path)


def test_an_unknown_experiment_or_scale_is_named():
    for scale, name, words in (
        ("demmo", "convnet-noise20", "did you mean 'demo'"),
        (3, "convnet-noise20", "3 is not known"),
        ("demo", "convnet-noise", "did you mean 'convnet-noise20'"),
        ("demo", "../laptop/convnet-noise20", "is not known"),
        ("demo", ["convnet-noise20"], "is not known"),
    ):
        with pytest.raises(ConfigError, match=words):
            config.find(scale, name)


@given(
    st.dictionaries(
        st.sampled_from(config.FIELDS),
        st.one_of(st.integers(), st.text(max_size=5), st.none(), st.lists(st.integers(), max_size=3), st.floats()),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_values_give_an_experiment_or_a_sentence(values):
    given_ = {k: v for k, v in values.items() if k not in ("scale", "experiment")}
    try:
        assert isinstance(config.find("demo", "convnet-noise20", given_), Experiment)
    except ConfigError as error:
        assert "\n" not in str(error)
