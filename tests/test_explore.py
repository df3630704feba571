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
from smooth_interpolation.errors import RecordError
from smooth_interpolation.figures import beyond_figures
from smooth_interpolation.runs import store, weights
from smooth_interpolation.studies import walks

SWEEP = config.find("demo", "convnet-noise20")
WIDTHS = (1, 8)  # whose weights are kept beside their records


@pytest.fixture(scope="module")
def page():
    return opened({"scale": "demo", "experiment": "convnet-noise20"})


def held(instrument):
    return json.loads(re.search(r"<script[^>]*>(.*)</script>", instrument._repr_html_())[1])


def test_the_metrics_of_a_width_are_those_of_its_record(page):
    data = held(pages.instrument(page, "volumes", subsets=("clean", "noisy")))
    record = next(r for r in page if r["config"]["width"] == 4)
    row = next(r for r in record["volumes"] if (r["subset"], r["size"]) == ("noisy", 6))
    metric = next(m for m in data["metrics"] if m["title"] == "Jacobian norm")
    shown = metric["values"][1][data["strengths"].index(25)][data["widths"].index(4)]
    assert shown == pytest.approx(row["jacobian_norm"]["mean"], rel=1e-3)
    assert data["thresholds"][0] == ["0%", page.threshold] and data["widths"][data["start"]] == page.threshold
    reached = [width for _, width in data["thresholds"]]
    assert reached == sorted(reached, reverse=True)  # the more is allowed, the narrower
    assert data["apart"] == [] and held(explore.volumes(page.volumes, {"0%": 8}, forgotten=[4]))["apart"] == [2]


def test_a_cell_of_the_heatmap_is_that_of_its_record(page):
    data = held(pages.instrument(page, "heatmap"))
    record = next(r for r in page if r["config"]["width"] == 2)
    last = record["history"][-1]
    assert data["metrics"][0]["values"][data["widths"].index(2)][-1] == pytest.approx(last["test_error"], rel=1e-3)
    assert data["epochs"][-1] == last["epoch"]


def test_without_records_there_is_nothing_to_explore(page):
    assert explore.volumes(page.volumes.iloc[:0], {"0%": 8}) is None and explore.heatmap(page.history.iloc[:0]) is None


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


@pytest.fixture(scope="module")
def photographs():
    return opened({"scale": "paper", "experiment": "convnet-noise20"})


@pytest.fixture(scope="module")
def seen(photographs):
    return walks.walk(photographs)


def test_a_walk_has_the_images_the_predictions_and_the_loss(seen, photographs):
    data = held(explore.walk(seen))
    assert len(data["examples"]) == len(seen.titles) == 3 and len(data["networks"]) == 4
    assert f"w = {photographs.threshold}, the threshold" in data["networks"]
    label = seen.about["labels"][0]
    assert label != seen.about["truth"][0] and seen.about["labels"][2] == seen.about["truth"][2]
    widest = data["examples"][0]["paths"][1][-1]
    assert len(widest["loss"]) == len(widest["jacobian"]) == 6 * data["substeps"] + 1
    assert widest["predicted"][0] == label and widest["probability"][0] > 0.9  # it has fitted the wrong label
    assert np.exp(-np.array(widest["loss"])) == pytest.approx(widest["probability"], rel=1e-3)
    sprite = Image.open(io.BytesIO(base64.b64decode(data["examples"][0]["sprite"].split("base64,")[1])))
    kept = np.asarray(Image.open(walks.images_path(photographs)).convert("RGB"))
    assert np.array_equal(np.asarray(sprite)[:, :32], kept[:, :32])
    assert sprite.size == (walks.N_PATHS * 7 * 32, 32)


def test_a_walk_is_sharp_below_the_threshold_and_smooth_beyond(seen):
    """What the page says of typical wrong labels is what the weights do."""
    mean = seen.seen[seen.seen.image < 2].groupby("width").jacobian.mean()
    assert mean[16] > 10 * mean[32] > 10 * mean[64]


def test_a_walk_is_drawn_wide_and_narrow_and_described(seen):
    for narrow, panels in ((False, 9), (True, 9)):
        figure = beyond_figures.walk_figure(seen, narrow=narrow)
        assert len(figure.axes) == panels and seen.titles[0] in figure.get_label() and len(figure.get_label()) <= 300


def test_where_no_images_are_kept_there_is_no_walk(page):
    assert walks.walk(page) is None and pages.walk(page) is None and pages.instrument(page, "walk") is None


def test_images_of_other_data_are_refused(photographs, monkeypatch):
    monkeypatch.setitem(photographs[0]["data"], "fingerprint", "other")
    with pytest.raises(RecordError, match="other data"):
        walks.walk(photographs)
