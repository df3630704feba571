"""The book's instruments say what the records say."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from worlds import opened

from smooth_interpolation import config
from smooth_interpolation.book import explore, pages
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import ConfigError, RecordError
from smooth_interpolation.runs import store, weights

SWEEP = config.find("demo", "convnet-noise20")
WIDTHS = (1, 8)  # whose weights are kept beside their records


@pytest.fixture(scope="module")
def page():
    return opened({"scale": "demo", "experiment": "convnet-noise20"})


def held(instrument):
    return json.loads(re.search(r"<script[^>]*>(.*)</script>", instrument._repr_html_())[1])


def test_the_metrics_of_a_width_are_those_of_its_record(page):
    data = held(pages.instrument(page, "volumes"))
    record = next(r for r in page if r["config"]["width"] == 4)
    row = next(r for r in record["volumes"] if (r["subset"], r["size"]) == ("noisy", 6))
    metric = next(m for m in data["metrics"] if m["title"] == "Jacobian norm")
    shown = metric["values"]["noisy"][data["widths"].index(4)][data["sizes"].index(6)]
    assert shown == pytest.approx(row["jacobian_norm"]["mean"], rel=1e-3)
    assert data["threshold"] == page.threshold and data["widths"][data["start"]] == page.threshold


def test_a_cell_of_the_heatmap_is_that_of_its_record(page):
    data = held(pages.instrument(page, "heatmap"))
    record = next(r for r in page if r["config"]["width"] == 2)
    last = record["history"][-1]
    assert data["metrics"][0]["values"][data["widths"].index(2)][-1] == pytest.approx(last["test_error"], rel=1e-3)
    assert data["epochs"][-1] == last["epoch"]


def test_without_records_there_is_nothing_to_explore(page):
    assert explore.volumes(page.volumes.iloc[:0]) is None and explore.heatmap(page.history.iloc[:0]) is None


@pytest.mark.parametrize("width", WIDTHS)
def test_the_weights_kept_beside_a_record_are_of_its_network(width):
    run = SWEEP.run(width, 0)
    network, prepared = weights.network(run), preparation.prepare(SWEEP)
    with torch.inference_mode():
        predicted = network.eval()(prepared.normalize(prepared.test.images.float() / 255)).argmax(1)
    error = 100 * (predicted != prepared.test.labels).double().mean().item()
    assert error == pytest.approx(store.read(run)["history"][-1]["test_error"], abs=0.11)  # two images of 2,000


def test_weights_of_another_network_are_not_taken(tmp_path, monkeypatch):
    other = SWEEP.run(1, 1)
    monkeypatch.setattr(
        weights, "committed_path", lambda run: store.path_of(SWEEP.run(1, 0)).with_suffix(".safetensors")
    )
    with pytest.raises(RecordError, match="No weights"):
        weights.network(other)


def test_a_walk_has_the_image_the_predictions_and_the_loss():
    prepared = preparation.prepare(SWEEP)
    index = int(prepared.points[prepared.corrupted[prepared.points]][0])
    network = weights.network(SWEEP.run(8, 0))
    data = held(explore.walk({"threshold": network}, prepared, {"a wrong label": index}, n_paths=2))
    (example,) = data["examples"]
    assert example["label"] == int(prepared.train.labels[index]) != example["truth"]
    seen = example["paths"][1]["networks"][0]
    assert len(seen["loss"]) == len(seen["jacobian"]) == data["steps"] == 6 * data["substeps"] + 1
    assert seen["predicted"][0] == example["label"] and seen["probability"][0] > 0.9  # it has fitted the wrong label
    assert np.exp(-np.array(seen["loss"])) == pytest.approx(seen["probability"], rel=1e-3)
    sprite = Image.open(io.BytesIO(base64.b64decode(example["sprite"].split("base64,")[1])))
    image = prepared.train.images[index].permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(sprite)[:, :32], image)
    assert sprite.size == (2 * 7 * 32, 32)


def test_a_walk_needs_networks_and_images():
    with pytest.raises(ConfigError, match="0 networks"):
        explore.walk({}, preparation.prepare(SWEEP), {"an image": 0})
