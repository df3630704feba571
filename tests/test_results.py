"""The committed records: each belongs to a params file, is whole, and is what the figures expect."""

import subprocess

import pytest
import torch

from smooth_interpolation import config, locations
from smooth_interpolation.data import preparation
from smooth_interpolation.runs import store, weights
from smooth_interpolation.train.evaluation import Evaluator

ROOT = locations.repository()
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")


def committed(pattern):
    """A reader's own files lie beside these."""
    found = sorted(ROOT.glob(pattern))
    return [path for path in found if len(TRACKED) < 2 or path.relative_to(ROOT).as_posix() in TRACKED]


RECORDS = committed("results/*/*/w*.json")
FILES = committed("params/demo/*.yaml") + committed("params/laptop/*.yaml")
WEIGHTS = committed("results/**/*.safetensors")


@pytest.mark.parametrize("file", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_width_is_measured_in_every_seed_or_in_none(file):
    experiment = config.load(file)
    missing = [run for run in experiment.runs() if not store.path_of(run).exists()]
    assert missing == [] or experiment.scale != "demo"
    widths = {run.width for run in missing}
    assert missing == [run for run in experiment.runs() if run.width in widths]


@pytest.mark.parametrize("path", [p for p in WEIGHTS if "demo" in p.parts], ids=lambda p: p.stem)
def test_weights_beside_a_record_are_those_that_were_measured(path):

    record = store.read_file(path.with_suffix(".json"))
    run = config.find(record["config"]["scale"], record["config"]["experiment"]).run(
        record["config"]["width"], record["config"]["seed"]
    )
    found = Evaluator(preparation.prepare(run), run, torch.device("cpu")).epoch(weights.network(run))
    last = {key: value for key, value in record["history"][-1].items() if key != "epoch"}
    for key, value in last.items():
        assert found[key] == pytest.approx(value, rel=2e-2), key  # other processors round otherwise


@pytest.mark.parametrize("path", [p for p in WEIGHTS if "demo" not in p.parts], ids=lambda p: p.stem)
def test_weights_in_half_precision_are_of_their_record(path):
    """Their test errors were compared with the records' when they were written; the images do not come with the project."""
    record = store.read_file(path.with_suffix(".json"))
    settings = record["config"]
    run = config.find(settings["scale"], settings["experiment"]).run(settings["width"], settings["seed"])
    network = weights.network(run, record["data"]["fingerprint"])
    assert all(torch.equal(value, value.half().float()) and value.any() for value in network.state_dict().values())


def test_weights_are_few_and_small():
    by_scale = {}
    for path in WEIGHTS:
        by_scale.setdefault(path.relative_to(ROOT / "results").parts[0], []).append(path.stat().st_size)
    assert {scale: len(sizes) for scale, sizes in by_scale.items()} == {"demo": 4, "paper": 4}
    assert sum(by_scale["demo"]) < 1e6 and sum(by_scale["paper"]) < 4 * 2**20


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: str(p.relative_to(ROOT / "results")))
def test_a_record_is_that_of_its_params_file(path):
    scale, name, file = path.relative_to(ROOT / "results").parts
    width, seed = (int(part[1:]) for part in file.removesuffix(".json").split("-"))
    experiment, *overrides = name.split("+")
    fields = dict(text.split("=") for text in overrides)
    record = store.read(config.find(scale, experiment, fields).run(width, seed), ROOT / "results")
    assert record["status"] == "complete"
    assert record["provenance"]["dirty"] is False and len(record["provenance"]["commit"]) == 40


def test_records_fit_in_tens_of_kilobytes():
    assert max(path.stat().st_size for path in RECORDS) < 60_000
