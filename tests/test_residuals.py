"""What sharpness is made of: the residual, which is confidence, and the sensitivity, which is smoothness."""

from decimal import Decimal, localcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smooth_interpolation.config import find
from smooth_interpolation.data import preparation
from smooth_interpolation.measure import losses, sharpness
from smooth_interpolation.measure.paths import segment_lengths, svd_paths
from smooth_interpolation.measure.volumes import integrate_paths, volume_metrics
from smooth_interpolation.train import evaluation
from smooth_interpolation.train.models import ConvNet

FAST = {"strengths": (2, 5), "n_paths": 2, "n_tangents": 1}
GAPS = (0, 1, 20, 36, 38, 60, 300, 700)


def exact_residual(logits, label):
    """softmax - onehot to 400 digits, and its norm."""
    with localcontext(prec=400):
        powers = [Decimal(value).exp() for value in logits]
        residual = [power / sum(powers) for power in powers]
        residual[label] -= 1
        return [float(value) for value in residual], float(sum(value * value for value in residual).sqrt())


def with_gaps():
    """Logits of five classes: the label's is `gap` above the next, and the others lie below."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(GAPS)) % 5
    logits = torch.rand(len(GAPS), 5, generator=generator, dtype=torch.float64)
    for row, label, gap in zip(logits, labels.tolist(), GAPS, strict=True):
        row[label] = row.max() + gap
    return logits, labels


class Linear(nn.Module):
    """Softmax regression whose biases put the label's logit far above the others."""

    def __init__(self, gap, n_classes=5, n_inputs=3 * 8 * 8):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.linear = nn.Linear(n_inputs, n_classes)
        with torch.no_grad():
            self.linear.weight.normal_(0, 0.1, generator=generator)
            self.linear.bias.zero_()[2] = gap

    def forward(self, x):
        return self.linear(x.flatten(1))


def points(n=4, side=8):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(3)), torch.full((n,), 2)


def test_the_residual_keeps_its_relative_accuracy_however_confident_the_network():
    logits, labels = with_gaps()
    found = losses.residual_norms(logits, labels)
    expected = [exact_residual(row, label)[1] for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert min(expected) < 1e-300
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    plain = (logits.softmax(1) - F.one_hot(labels, 5)).norm(dim=1)
    torch.testing.assert_close(found[:3], plain[:3], rtol=1e-6, atol=0)  # where the plain form has digits left
    assert losses.residual_norms(logits.float(), labels).dtype == torch.float64


def test_the_residual_of_a_wrong_prediction_is_at_most_the_square_root_of_two():
    found = losses.residual_norms(torch.tensor([[0.0, 900.0, 0.0]]), torch.tensor([0]))
    assert found.item() == pytest.approx(2**0.5)
    assert losses.residual_norms(torch.tensor([[3.0]]), torch.tensor([0])).item() == 0  # a single class


def test_the_crossentropy_is_pytorchs_and_keeps_its_gradient_further():
    generator = torch.Generator().manual_seed(0)
    logits = 10 * torch.randn(200, 10, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 10, (200,), generator=generator)
    ours = losses.crossentropy(logits.requires_grad_(), labels)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, reduction="none"), rtol=1e-10, atol=1e-13)
    logits, labels = with_gaps()
    (gradient,) = torch.autograd.grad(losses.crossentropy(logits.requires_grad_(), labels).sum(), logits)
    expected = [exact_residual(row, label)[0] for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gap", [0, 10, 60, 300])
def test_softmax_regression_has_its_closed_form_in_both_precisions(gap):
    model, (images, labels) = Linear(gap).double(), points()
    images = images.double()
    weight = model.linear.weight.detach()
    exact = [exact_residual(row, label) for row, label in zip(model(images).tolist(), labels.tolist(), strict=True)]
    residual, norm = (torch.tensor(values, dtype=torch.float64) for values in zip(*exact, strict=True))
    directions = (residual / norm[:, None]) @ weight  # W^T (p - y) / ||p - y||
    found = volume_metrics(model, images, labels, **FAST)
    torch.testing.assert_close(found.residual_norm[:, 0], norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.sensitivity[:, 0], directions.norm(dim=1), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.jacobian_norm[:, 0], directions.norm(dim=1) * norm, rtol=1e-10, atol=0)
    gradients = sharpness.loss_gradients(model, images, labels).flatten(1)
    torch.testing.assert_close(gradients, norm[:, None] * directions, rtol=1e-8, atol=0)
    single = volume_metrics(model.float(), images.float(), labels, **FAST)
    rtol = 1e-5 + 1e-6 * gap  # logits of that size round by as much
    for metric in ("residual_norm", "sensitivity", "jacobian_norm"):
        ours, theirs = getattr(single, metric), getattr(found, metric)
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=0, msg=lambda text, m=metric: f"{m}: {text}")
    assert not found.exact_fit.any() and not single.exact_fit.any()


def test_a_residual_of_exactly_zero_has_no_sensitivity_and_is_counted():
    images, labels = points()
    found = volume_metrics(Linear(900).double(), images.double(), labels, **FAST)
    for metric in ("residual_norm", "sensitivity", "jacobian_norm", "tangent_hessian_norm"):
        assert (getattr(found, metric) == 0).all(), metric
    assert (found.exact_fit == 1).all()


def test_sharpness_is_confidence_times_smoothness_at_every_anchor_of_a_convnet():
    """One anchor at a time, in float64, the plain way; and then Equation 6."""
    torch.manual_seed(0)
    model, (images, labels) = ConvNet(3, 10).double(), points(3, side=32)
    images = images.double()
    found = volume_metrics(model, images, labels, **FAST)
    paths = svd_paths(images, FAST["strengths"], FAST["n_paths"])
    values = {name: torch.zeros(paths.shape[:3], dtype=torch.float64) for name in ("residual_norm", "sensitivity")}
    for n, p, k in torch.cartesian_prod(*(torch.arange(size) for size in paths.shape[:3])).tolist():
        x = paths[n, p, k][None].clone().requires_grad_()
        logits = model(x)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels[n : n + 1]), x)
        residual = (logits.softmax(1) - F.one_hot(labels[n : n + 1], 10)).norm().item()
        values["residual_norm"][n, p, k], values["sensitivity"][n, p, k] = residual, gradient.norm() / residual
    for name, expected in values.items():
        along = integrate_paths(expected, segment_lengths(paths))
        torch.testing.assert_close(getattr(found, name), along, rtol=1e-8, atol=0)


def test_another_loss_has_no_residual():
    images, labels = points()
    found = volume_metrics(Linear(1), images, labels, loss=lambda y, t: F.cross_entropy(y, t, reduction="none"), **FAST)
    for metric in ("residual_norm", "sensitivity", "exact_fit"):
        assert getattr(found, metric).isnan().all(), metric
    plain = volume_metrics(Linear(1), images, labels, **FAST)
    torch.testing.assert_close(found.jacobian_norm, plain.jacobian_norm, rtol=1e-5, atol=0)


def test_the_share_of_exact_fits_is_weighted_as_every_metric_is():
    settings = find(
        "demo", "convnet-noise20", {"n_train": 100, "n_test": 20, "n_clean_points": 60, "n_noisy_points": 20}
    )
    run = settings.run(2, 0)
    data = preparation.prepare(run)
    evaluator = evaluation.Evaluator(data, run, torch.device("cpu"))
    model = ConvNet(2, 10)
    with torch.no_grad():  # certain of class 0, whatever the image
        model.linear.weight.zero_()
        model.linear.bias.copy_(2000.0 * F.one_hot(torch.tensor(0), 10))
    entry, rows = evaluator.epoch(model), evaluator.volumes(model)
    fits = evaluator.points.labels == 0
    for subset, mask in (("clean", ~evaluator.corrupted), ("noisy", evaluator.corrupted)):
        share = fits[mask].double().mean().item()
        assert 0 < share < 1 and entry["exact_fit"][subset] == pytest.approx(share)
        assert entry["residual_norm"][subset] == pytest.approx((1 - share) * 2**0.5)
        for row in rows:
            assert row["subset"] != subset or row["exact_fit"]["mean"] == pytest.approx(share)
    both = entry["exact_fit"]
    assert both["all"] == pytest.approx(0.8 * both["clean"] + 0.2 * both["noisy"])
