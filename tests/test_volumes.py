"""Integration along paths, and all metrics of a network over volumes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import functional as jitter

from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure import anchors, tangents
from smooth_interpolation.measure.paths import segment_lengths, svd_paths
from smooth_interpolation.measure.sharpness import jacobian_norm, tangent_hessian_norm
from smooth_interpolation.measure.volumes import METRICS, anchor_metrics, integrate_paths, volume_metrics
from smooth_interpolation.train.loop import Normalization
from smooth_interpolation.train.models import ConvNet

NORMALIZE = Normalization((0.5, 0.4, 0.6), (0.2, 0.25, 0.3))
SMALL = {"normalize": NORMALIZE, "strengths": (5, 20), "n_paths": 3, "n_tangents": 2, "seed": 7}


def points(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 32, 32, generator=generator), torch.randint(0, 10, (n,), generator=generator)


def network(width=3, seed=0):
    torch.manual_seed(seed)
    return ConvNet(width, 10)


def assert_same(a, b, rtol=1e-9):
    for metric in METRICS:
        torch.testing.assert_close(
            getattr(a, metric), getattr(b, metric), rtol=rtol, atol=0, msg=lambda m, k=metric: f"{k}: {m}"
        )


def test_integral_agrees_with_numpy_trapezoid():
    generator = np.random.default_rng(0)
    values, lengths = generator.random((4, 3, 6)), generator.random((4, 3, 5))
    found = integrate_paths(torch.from_numpy(values), torch.from_numpy(lengths)).numpy()
    for n in range(4):
        assert found[n, 0] == pytest.approx(values[n, :, 0].mean())
        for k in range(1, 6):
            means = []
            for p in range(3):
                position = np.concatenate([[0], np.cumsum(lengths[n, p, :k])])
                means.append(np.trapezoid(values[n, p, : k + 1], position) / position[-1])
            assert found[n, k] == pytest.approx(np.mean(means), rel=1e-12)


@given(constant=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_mean_of_a_constant_is_the_constant_at_any_scale(constant, scale, seed):
    lengths = scale * torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = integrate_paths(torch.full((3, 2, 5), constant, dtype=torch.float64), lengths)
    torch.testing.assert_close(found, torch.full((3, 5), constant, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_rescaling_a_path_changes_nothing(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    lengths = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        integrate_paths(values, scale * lengths), integrate_paths(values, lengths), rtol=1e-9, atol=0
    )


def test_path_of_zero_length_contributes_its_value_at_the_image():
    values = torch.tensor([[[2.0, 5.0, 9.0], [1.0, 3.0, 5.0]]])
    lengths = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    torch.testing.assert_close(integrate_paths(values, lengths), torch.tensor([[1.5, (2 + 2) / 2, (2 + 3) / 2]]))


def test_volume_metrics_agree_with_the_parts_one_by_one():
    """Every anchor of every path, one image at a time, in float64, from the public pieces."""
    model, (images, labels) = network().double(), points(4)
    images = images.double()
    found = volume_metrics(model, images, labels, delta=0.1, **SMALL)
    n_paths, strengths, n_tangents = SMALL["n_paths"], SMALL["strengths"], SMALL["n_tangents"]
    n_steps = len(strengths)
    jitters = tangents.draw_jitters(images, 1 + n_paths * n_steps, n_tangents, SMALL["seed"])
    for n in range(len(images)):
        paths = svd_paths(images[n : n + 1], strengths, n_paths)
        values = {metric: torch.zeros(1, n_paths, n_steps + 1, dtype=torch.float64) for metric in METRICS}
        for p in range(n_paths):
            for k in range(n_steps + 1):
                x, y = paths[:, p, k], labels[n : n + 1]
                anchor = 0 if k == 0 else 1 + p * n_steps + (k - 1)
                logits = model(NORMALIZE(x))
                moved = torch.stack([NORMALIZE(jittered(x, jitters[n, anchor, m])) for m in range(n_tangents)], 1)
                values["accuracy"][0, p, k] = float(logits.argmax() == y)
                values["crossentropy"][0, p, k] = nn.functional.cross_entropy(logits, y)
                values["jacobian_norm"][0, p, k] = jacobian_norm(model, NORMALIZE(x), y)
                residual = (logits.softmax(1) - nn.functional.one_hot(y, 10)).norm()
                values["residual_norm"][0, p, k] = residual
                values["sensitivity"][0, p, k] = jacobian_norm(model, NORMALIZE(x), y) / residual
                values["tangent_hessian_norm"][0, p, k] = tangent_hessian_norm(model, NORMALIZE(x), moved, y, 0.1)
        lengths = segment_lengths(NORMALIZE(paths))
        for metric in METRICS:
            expected = integrate_paths(values[metric], lengths)[0].detach()
            torch.testing.assert_close(getattr(found, metric)[n], expected, rtol=1e-8, atol=0)


def jittered(image, steps):
    """Brightness, contrast and saturation as torchvision defines them, one after the other, without clipping."""
    x = image
    for operation, factor in steps.tolist():
        grey = (0.2989 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
        base = [torch.zeros_like(grey), grey.mean(dim=(2, 3), keepdim=True), grey][int(operation)]
        x = factor * x + (1 - factor) * base
    return x


def test_jitters_are_torchvisions_colour_operations():
    images = 0.2 + 0.6 * points(4)[0]  # inside [0, 1], where torchvision does not clip
    operations = [jitter.adjust_brightness, jitter.adjust_contrast, jitter.adjust_saturation]
    jitters = tangents.draw_jitters(images, 1, 6, seed=3)[:, 0]
    found = tangents.apply_jitters(images, jitters)
    for m in range(6):
        for n in range(4):
            expected = images[n]
            for operation, factor in jitters[n, m].tolist():
                expected = operations[int(operation)](expected, factor)
            torch.testing.assert_close(found[n, m], expected, rtol=0, atol=1e-6)
    factors, orders = jitters[..., 1], jitters[..., 0]
    assert (factors >= 0.99).all() and (factors <= 1.01).all() and factors.std() > 0.003
    assert (orders.sort(-1).values == torch.arange(3.0)).all() and len(orders.flatten(0, 1).unique(dim=0)) == 6


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_one_affine_map_is_the_steps_one_after_the_other(channels):
    images = points(3)[0].double()[:, :channels] * 3 - 1
    jitters = tangents.draw_jitters(images, 1, 5, seed=0)[:, 0]
    jitters[..., 1] = 1 + 40 * (jitters[..., 1] - 1)  # strong ones
    found = tangents.apply_jitters(images, jitters)
    for n in range(3):
        for m in range(5):
            x = images[n]
            for operation, factor in jitters[n, m].tolist():
                grey = (
                    torch.tensor(tangents.GREY, dtype=x.dtype) @ x.flatten(1) if channels == 3 else x.flatten(1).mean(0)
                )
                grey = grey.view(1, 32, 32)
                x = factor * x + (1 - factor) * [0, grey.mean(), grey][int(operation)]
            torch.testing.assert_close(found[n, m], x, rtol=1e-12, atol=1e-12)


def test_nothing_depends_on_chunks_batches_order_or_threads():
    model, (images, labels) = network().double(), points(6)
    whole = volume_metrics(model, images, labels, **SMALL)
    assert_same(volume_metrics(model, images, labels, memory=1 << 12, **SMALL), whole)
    assert_same(volume_metrics(model, images, labels, memory=1 << 22, **SMALL), whole)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    permuted = volume_metrics(model, images[order], labels[order], **SMALL)
    assert_same(permuted, type(whole)(**{k: v[order] for k, v in whole._asdict().items()}))
    torch.set_num_threads(2)
    assert_same(volume_metrics(model, images, labels, **SMALL), whole)
    other = volume_metrics(model, images, labels, **{**SMALL, "seed": 8})
    assert not torch.allclose(other.tangent_hessian_norm, whole.tangent_hessian_norm)
    assert torch.equal(other.jacobian_norm, whole.jacobian_norm)


def test_float32_agrees_with_float64():
    model, (images, labels) = network(4), points(6)
    single = volume_metrics(model, images, labels, **SMALL)
    double = volume_metrics(network(4).double(), images, labels, **SMALL)
    assert_same(single, double, rtol=1e-4)


def test_volume_size_zero_is_the_point():
    model, (images, labels) = network(), points(4)
    found = volume_metrics(model, images, labels, **SMALL)
    near = anchors.make(images, **{k: v for k, v in SMALL.items() if k != "normalize"})
    alone = anchor_metrics(model, near.anchors[:, :1], near.jitters[:, :1], labels, NORMALIZE, delta=0.1)
    assert found._fields == (*METRICS, "exact_fit")
    for metric in METRICS:
        torch.testing.assert_close(getattr(found, metric)[:, :1], getattr(alone, metric), rtol=1e-5, atol=1e-12)
        assert getattr(found, metric).shape == (4, 3)


def test_a_black_image_gives_finite_numbers():
    images, labels = points(2)
    images[0] = 0
    found = volume_metrics(network(), images, labels, **SMALL)
    for metric in METRICS:
        values = getattr(found, metric)
        assert torch.isfinite(values).all()
        assert torch.equal(values[0], values[0, :1].expand(3)) or metric == "tangent_hessian_norm"


def test_shift_paths_and_other_networks():
    images, labels = points(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    found = volume_metrics(model, images, labels, strengths=(1, 3), n_paths=2, n_tangents=1, path_kind="shift")
    assert all(torch.isfinite(getattr(found, m)).all() and getattr(found, m).shape == (2, 3) for m in METRICS)


def test_bad_input_is_one_sentence():
    model, (images, labels) = network(), points(2)
    for kind, words, change in [
        (ConfigError, "path_kind", {"path_kind": "spiral"}),
        (ConfigError, "n_tangents", {"n_tangents": 0}),
        (ConfigError, "delta", {"delta": -1.0}),
        (ConfigError, "increase", {"strengths": (9, 3)}),
    ]:
        with pytest.raises(kind, match=words):
            volume_metrics(model, images, labels, **{**SMALL, **change})
    with pytest.raises(DataError, match="one per image"):
        volume_metrics(model, images, labels[:1], **SMALL)
    with pytest.raises(DataError, match="do not match"):
        integrate_paths(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
