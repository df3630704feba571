"""What bfloat16 changes: networks of one width and seed in both precisions, by their ranges over the seeds."""

import itertools
from types import SimpleNamespace

import pandas as pd
import pytest

import smooth_interpolation as si
from smooth_interpolation.book import precision

VALUES = {"bf16": {0: 10.0, 1: 12.0, 2: 14.0}, "fp32": {0: 13.0, 1: 15.0, 2: 20.0}}


class Found(SimpleNamespace):
    def __len__(self):
        return len(self.history)


def networks(values, widths=(8,), shift=0.0):
    """Records of these values, the same for every quantity; over volumes ten times those at the points."""
    rows = [(w, seed, value) for w in widths for seed, value in values.items()]
    history = [
        (w, seed, epoch, "all", name, value + (shift if epoch > 90 else 50)) for w, seed, value in rows
        for name in precision.POINTS for epoch in (10, 95, 100)
    ]  # fmt: skip
    volumes = [
        (w, seed, size, "all", name, factor * value) for w, seed, value in rows
        for name in precision.VOLUMES for size, factor in ((0, 1), (6, 10))
    ]  # fmt: skip
    return Found(
        history=pd.DataFrame(history, columns=["width", "seed", "epoch", "subset", "metric", "value"]),
        volumes=pd.DataFrame(volumes, columns=["width", "seed", "size", "subset", "metric", "mean"]),
    )


@pytest.fixture
def kept(monkeypatch):
    found = {}
    nothing = networks({})
    monkeypatch.setattr(precision, "records", lambda scale, experiment, precision: found.get(precision, nothing))
    return found


def test_means_and_ranges_are_over_the_seeds_that_both_have(kept):
    kept |= {"bf16": networks(VALUES["bf16"] | {3: 99.0}, (8, 16)), "fp32": networks(VALUES["fp32"])}
    table = precision.compared("gpu", "convnet-noise20").set_index("quantity")
    assert set(table.width) == {8} and set(table.index) == set(precision.QUANTITIES) and set(table.seeds) == {3}
    test, volume = table.loc["test error, %"], table.loc["Hessian norm, largest volume"]
    assert test[["bfloat16 low", "bfloat16 mean", "bfloat16 high"]].tolist() == [10, 12, 14]
    assert volume[["float32 low", "float32 mean", "float32 high"]].tolist() == [130, 160, 200]
    assert not table.apart.any()
    shown = precision.by_width(table.reset_index())
    assert list(shown.index) == [(8, quantity) for quantity in precision.QUANTITIES]
    assert shown.loc[(8, "test error, %")].tolist() == ["12 [10, 14]", "16 [13, 20]", "overlap"]


def test_ranges_without_a_common_value_are_counted_beside_chance(kept):
    kept |= {"bf16": networks(VALUES["bf16"]), "fp32": networks(VALUES["fp32"], shift=2.0)}
    table = precision.compared("gpu", "convnet-noise20")
    assert table.groupby("quantity").apart.first().to_dict() == {
        name: name in precision.POINTS.values() for name in precision.QUANTITIES
    }
    kept |= {name: networks(values, (16, 8)) for name, values in VALUES.items()}
    order = [(w, quantity) for w in (8, 16) for quantity in precision.QUANTITIES]
    assert list(precision.by_width(precision.compared("gpu", "convnet-noise20")).index) == order
    said = precision.sentence(table)
    assert "in 3 of 5 comparisons, of w = 8," in said and "it would be about 0.5." in said
    splits = list(itertools.combinations(range(6), 3))
    apart = sum(max(part) < 3 or min(part) > 2 for part in splits)
    assert 5 * apart / len(splits) == 0.5


def test_what_is_one_value_in_both_is_not_compared(kept):
    """As the training error is where every network fits all labels."""
    zero = dict.fromkeys(range(3), 0.0)
    kept |= {name: networks(values) for name, values in VALUES.items()}
    there = precision.compared("gpu", "convnet-noise20")
    kept |= {name: networks(zero, (16,)) for name in VALUES}
    table = pd.concat([there, precision.compared("gpu", "convnet-noise20")])
    assert len(table) == 10 and "of 5 comparisons, of w = 8, 16," in precision.sentence(table)
    assert "it would be about 0.5." in precision.sentence(table)


def test_networks_of_one_precision_or_one_seed_are_not_compared(kept):
    kept["bf16"] = networks(VALUES["bf16"])
    assert precision.compared("gpu", "convnet-noise20").empty
    kept["fp32"] = networks({0: 1.0})
    assert precision.compared("gpu", "convnet-noise20").empty
    assert "not measured" in precision.sentence(precision.compared("gpu", "convnet-noise20"))


def test_a_precision_that_the_file_has_anyway_is_no_other_family():
    assert len(si.records("gpu", "convnet-noise20", precision="bf16")) == len(si.records("gpu", "convnet-noise20"))
