"""Label noise: applied, in the right amount, to the right classes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.data.label_noise import asymmetric_noise, symmetric_noise
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.train import loop, models
from smooth_interpolation.train.step import Recipe


@given(n=st.integers(0, 300), fraction=st.floats(0, 1), n_classes=st.integers(2, 20), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_symmetric_noise_moves_exactly_its_share_and_never_to_the_true_class(n, fraction, n_classes, seed):
    labels = np.random.default_rng(seed).integers(0, n_classes, n)
    noisy, mask = symmetric_noise(labels, fraction, n_classes, seed)
    assert mask.sum() == round(fraction * n)
    assert ((noisy != labels) == mask).all()
    assert noisy.size == 0 or (noisy.min() >= 0 and noisy.max() < n_classes)


def test_symmetric_noise_is_uniform_over_the_other_classes():
    labels = torch.arange(10).repeat(5000)
    noisy, mask = symmetric_noise(labels, 0.2, 10, seed=0)
    assert isinstance(noisy, torch.Tensor) and mask.dtype == torch.bool
    assert (torch.bincount(labels[mask], minlength=10) - 1000).abs().max() < 150  # about 5 standard deviations
    steps = torch.bincount((noisy - labels)[mask] % 10, minlength=10)
    assert steps[0] == 0 and (steps[1:] - 10_000 / 9).abs().max() < 160


def test_seeds_decide():
    labels = torch.arange(10).repeat(50)
    first, again, other = (symmetric_noise(labels, 0.2, 10, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_asymmetric_noise_corrupts_its_classes_alone_by_its_share():
    labels = torch.arange(100).repeat(40)
    noisy, mask, classes = asymmetric_noise(labels, 20, 0.8, 100, seed=0)
    assert len(classes.unique()) == 20
    counts = torch.bincount(labels[mask], minlength=100)
    assert torch.equal(counts[classes], torch.full((20,), 32))
    assert mask.sum() == 20 * 32 and torch.equal(noisy != labels, mask)
    _, none, nothing = asymmetric_noise(labels, 0, 0.8, 100, seed=0)
    assert none.sum() == 0 and len(nothing) == 0


def test_bad_input_is_one_sentence():
    labels = np.arange(10)
    for words, call in [
        ("between 0 and 1", lambda: symmetric_noise(labels, 1.2, 10, 0)),
        ("integers", lambda: symmetric_noise(labels.astype(float), 0.2, 10, 0)),
        ("0..4", lambda: symmetric_noise(labels, 0.2, 5, 0)),
        ("at least 2", lambda: symmetric_noise(labels * 0, 0.2, 1, 0)),
        ("n_corrupted_classes", lambda: asymmetric_noise(labels, 11, 0.2, 10, 0)),
    ]:
        with pytest.raises(ConfigError, match=words):
            call()


def test_a_network_trained_on_noisy_labels_differs():
    shared = {"n_train": 100, "n_test": 20, "epochs": 2, "n_evaluations": 1, "n_clean_points": 5, "n_noisy_points": 0}
    weights = []
    for fraction in (0.2, 0.0):
        experiment = config.find("demo", "convnet-noise20", {**shared, "noise_fraction": fraction})
        data = preparation.prepare(experiment)
        assert int(data.corrupted.sum()) == round(100 * fraction)
        assert torch.equal(data.train.labels != data.dataset.train.labels, data.corrupted)
        network = models.create("convnet", 2, 10, seed=0)
        loop.train(
            network, data.train.images, data.train.labels, **vars(Recipe.of(experiment)), normalize=data.normalize
        )
        weights.append(torch.cat([p.flatten() for p in network.parameters()]))
    assert not torch.equal(*weights)
