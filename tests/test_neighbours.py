"""Nearest neighbours, features, and the comparison of test points near corrupted and near clean training points."""

import numpy as np
import pytest
import torch
from torch import nn

from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure import neighbours
from smooth_interpolation.train import models


def test_nearest_agrees_with_a_plain_search():
    generator = np.random.default_rng(0)
    queries, references = generator.random((7, 3, 2)), generator.random((20, 3, 2))
    distances, indices = neighbours.nearest(torch.from_numpy(queries), torch.from_numpy(references), 4, chunk_size=3)
    all_distances = np.sqrt(((queries[:, None] - references[None]) ** 2).sum((2, 3)))
    expected = np.argsort(all_distances, axis=1)[:, :4]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, np.take_along_axis(all_distances, expected, 1), rtol=1e-6)


def test_features_are_what_the_last_linear_layer_sees():
    network = models.create("convnet", 3, 10, seed=0)
    inputs = torch.randn(5, 3, 32, 32)
    found, outputs = neighbours.features(network, inputs, chunk_size=2)
    assert found.shape == (5, 24)
    torch.testing.assert_close(network.linear(found), outputs)
    assert network.training and not network.linear._forward_pre_hooks
    with pytest.raises(ConfigError, match="no linear layer"):
        neighbours.features(nn.Flatten(), inputs)
    half = models.create("convnet", 3, 10, seed=0).half()
    with pytest.raises(ConfigError, match="float32 or wider"):
        neighbours.features(half, inputs)
    assert not half.linear._forward_pre_hooks
    network.forward = lambda images: images.flatten(1)
    with pytest.raises(ConfigError, match="calls none of its linear layers"):
        neighbours.features(network, inputs)
    assert not network.linear._forward_pre_hooks


def test_comparison_on_a_line():
    """Training points at 0..99, every fifth corrupted; test points halfway; those near corrupted ones copy their label."""
    train = torch.arange(100.0)[:, None]
    corrupted = torch.arange(100) % 5 == 0
    true_train = torch.zeros(100, dtype=torch.long)
    noisy = torch.where(corrupted, 1, true_train)
    test = train + 0.1
    true = torch.zeros(100, dtype=torch.long)
    predicted = torch.where(corrupted, 1, 0)
    predicted[10], predicted[5], predicted[7] = 2, 0, 3  # another wrong class; a right one; an error near a clean point
    near = neighbours.nearest(test, train, 10)
    table = neighbours.compare(*near, corrupted, noisy, predicted, true, 5).set_index(["quantity", "group"])
    assert table.loc[("error", "corrupted"), "n"] == 20 and table.loc[("error", "clean"), "n"] == 80
    assert table.loc[("error", "corrupted"), "percent"] == pytest.approx(100 * 19 / 20)
    assert table.loc[("error", "clean"), "percent"] == pytest.approx(100 / 80)
    assert table.loc[("copied", "the wrong label"), "percent"] == pytest.approx(100 * 18 / 20)
    assert table.loc[("copied", "other wrong class"), "percent"] == pytest.approx(100 / 20 / 3)
    counts = table.loc["error by count"]
    assert counts["n"].sum() == 100 and counts.loc["2", "n"] > 80  # two of any ten neighbours on a line are corrupted
    quarters = table.loc["error by distance"]
    assert quarters["n"].sum() == 100 and len(quarters) == 8
    gap, error = neighbours.difference(table.reset_index())
    assert gap == pytest.approx(95 - 1.25)
    assert error == pytest.approx(100 * (0.95 * 0.05 / 20 + 0.0125 * 0.9875 / 80) ** 0.5)  # no two share a neighbour
    assert error == pytest.approx(neighbours.independent_error(table.reset_index()))


def test_test_points_that_share_a_neighbour_count_as_one_witness():
    """Every test point four times, all four with one fate: the error is that of a quarter of them, not half of it."""
    train = torch.arange(100.0)[:, None]
    corrupted = torch.arange(100) % 5 == 0
    true = torch.zeros(100, dtype=torch.long)
    predicted = torch.randint(0, 2, (100,), generator=torch.Generator().manual_seed(0))
    once = neighbours.compare(*neighbours.nearest(train, train, 10), corrupted, true, predicted, true, 2)
    many = [values.repeat_interleave(4, 0) for values in (train, predicted, true)]
    near = neighbours.nearest(many[0], train, 10)
    four = neighbours.compare(*near, corrupted, true, many[1], many[2], 2)
    (gap, error), (same_gap, same_error) = neighbours.difference(once), neighbours.difference(four)
    assert same_gap == pytest.approx(gap) and same_error == pytest.approx(error)
    assert neighbours.independent_error(four) == pytest.approx(error / 2)
    generator, gaps = np.random.default_rng(0), []  # a bootstrap of the training points agrees
    wrong, clusters = (many[1] != many[2]).numpy(), near[1][:, 0].numpy()
    for _ in range(2000):
        weights = np.bincount(generator.integers(0, 100, 100), minlength=100)[clusters]
        shares = [
            np.average(wrong[mask], weights=weights[mask]) for mask in (corrupted[clusters], ~corrupted[clusters])
        ]
        gaps.append(100 * (shares[0] - shares[1]))
    assert np.std(gaps) == pytest.approx(error, rel=0.1)


def test_no_difference_where_there_is_none():
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.rand(n, 4, generator=generator) for n in (500, 4000))
    corrupted = torch.rand(500, generator=generator) < 0.2
    noisy, true, predicted = (torch.randint(0, 5, (n,), generator=generator) for n in (500, 4000, 4000))
    table = neighbours.compare(*neighbours.nearest(test, train, 10), corrupted, noisy, predicted, true, 5)
    gap, error = neighbours.difference(table)
    assert abs(gap) < 3 * error
    copied = table[table.quantity == "copied"].set_index("group").percent
    assert copied["the wrong label"] == pytest.approx(copied["other wrong class"], abs=5)


def test_without_corrupted_points_there_is_nothing_to_compare():
    train = torch.arange(20.0)[:, None]
    labels = torch.zeros(20, dtype=torch.long)
    table = neighbours.compare(*neighbours.nearest(train, train, 10), labels > 0, labels, labels, labels, 2)
    assert table[table.group == "corrupted"].n.item() == 0 and table[table.group == "clean"].percent.item() == 0


def test_what_does_not_fit_is_a_sentence():
    with pytest.raises(DataError, match="do not match"):
        neighbours.nearest(torch.rand(2, 3), torch.rand(2, 4))
    for k in (0, 3):
        with pytest.raises(ConfigError, match="must lie between 1 and 2"):
            neighbours.nearest(torch.rand(2, 3), torch.rand(2, 3), k)
