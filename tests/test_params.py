"""Every params file can run: the images, noisy labels and points that it asks for are there, counted without the images."""

import numpy as np
import pytest
import torch

from smooth_interpolation import config, locations
from smooth_interpolation.config.settings import corrupted_labels
from smooth_interpolation.data import datasets, preparation
from smooth_interpolation.errors import ConfigError

FILES = sorted((locations.repository() / "params").glob("*/*.yaml"))
CIFAR = {"cifar10": (10, 5_000, 1_000), "cifar100": (100, 500, 100)}  # classes, training and test images of each


def labels_of(asked):
    """The labels of both splits, as many of each class as there are."""
    n_classes = asked["n_classes"]
    known = CIFAR.get(asked["dataset"])
    if known is None:
        assert asked["dataset"] == "dead_leaves"  # which draws what it is asked for
        known = n_classes, asked["n_train"] // n_classes, asked["n_test"] // n_classes
    assert n_classes == known[0]
    return [torch.from_numpy(np.repeat(np.arange(n_classes), n)) for n in known[1:]]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_what_a_params_file_asks_for_is_there(path):
    experiment = config.load(path)  # with what its base has
    asked = experiment.model_dump(mode="json")
    assert asked["widths"] == sorted(set(asked["widths"])) and min(asked["widths"]) >= 1
    subsets = []
    for labels, n, seed in zip(labels_of(asked), (asked["n_train"], asked["n_test"]), (0, 1), strict=True):
        subsets.append(labels[datasets.balanced_subset(labels, n, asked["data_seed"] + seed)])
        assert subsets[-1].bincount().tolist() == [n // asked["n_classes"]] * asked["n_classes"]
    labels, n_each = subsets[0], asked["n_train"] // asked["n_classes"]
    noisy, mask, classes = preparation._corrupt(labels, experiment)
    by_class = labels[mask].bincount(minlength=asked["n_classes"])
    share = asked["noise_fraction"]
    if asked["noise"] == "asymmetric":
        assert len(classes) == asked["n_corrupted_classes"]
        assert by_class.tolist() == [share * n_each if label in classes else 0 for label in range(asked["n_classes"])]
        expected = share * n_each * asked["n_corrupted_classes"]
    else:
        expected = share * asked["n_train"]
    assert mask.sum() == (noisy != labels).sum() == expected == round(expected)
    assert corrupted_labels(experiment, asked["n_train"]) == (expected, expected)
    assert asked["n_noisy_points"] <= expected and asked["n_clean_points"] <= asked["n_train"] - expected
    points = preparation._draw_points(mask, experiment, asked["n_test"])
    assert len(points.unique()) == len(points) and mask[points].sum() == asked["n_noisy_points"]
    assert len(points) == asked["n_clean_points"] + asked["n_noisy_points"] > 0


def test_asymmetric_noise_at_the_larger_scales_is_a_sixth_of_the_labels_and_no_fifth():
    for scale, n_noisy in (("laptop", 640), ("gpu", 8_000), ("paper", 8_000)):
        experiment = config.find(scale, "convnet-asymmetric")
        assert corrupted_labels(experiment, experiment.n_train)[0] == n_noisy == 0.16 * experiment.n_train


@pytest.mark.parametrize(
    ("scale", "name", "changes", "words"),
    [
        ("paper", "convnet-asymmetric", {"n_noisy_points": 10_000}, "n_noisy_points 10,000: there are 8,000 noisy"),
        ("paper", "convnet-asymmetric", {"n_clean_points": 42_001}, "n_clean_points 42,001: there are 42,000 clean"),
        ("laptop", "convnet-asymmetric", {"n_noisy_points": 641}, "n_noisy_points 641: there are 640 noisy"),
        ("gpu", "convnet-noise20", {"n_noisy_points": 10_001}, "n_noisy_points 10,001: there are 10,000 noisy"),
        ("gpu", "convnet-cifar100", {"n_train": 50_001}, "n_train 50,001: cifar100 has 50,000 training images"),
        ("laptop", "convnet-noise20", {"n_test": 10_001}, "n_test 10,001: cifar10 has 10,000 test images"),
        ("demo", "convnet-asymmetric", {"n_noisy_points": 241}, "n_noisy_points 241: there are 240 noisy"),
    ],
)
def test_more_than_there_is_is_refused_before_anything_is_loaded(scale, name, changes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        config.find(scale, name, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_train", [100, 101, 105, 109, 110])
@pytest.mark.parametrize("fraction", [0.5, 0.8])
def test_unequal_classes_corrupt_between_the_least_and_the_most(n_train, fraction):
    changes = {"n_train": n_train, "noise_fraction": fraction, "n_clean_points": 1, "n_noisy_points": 1}
    found = set()
    for seed in range(40):
        experiment = config.find("demo", "convnet-asymmetric", {**changes, "data_seed": seed})
        labels = torch.arange(n_train) % 10
        found.add(int(preparation._corrupt(labels, experiment)[1].sum()))
    assert (min(found), max(found)) == corrupted_labels(experiment, n_train)


def test_what_depends_on_the_classes_of_a_folder_is_not_refused():
    changes = {"dataset": "pets", "n_train": 1_000, "n_noisy_points": 900, "n_test": 500_000}
    assert config.find("demo", "convnet-asymmetric", changes).n_noisy_points == 900
