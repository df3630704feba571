"""Exact second derivatives against dense Hessians and closed forms, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure import curvature, sharpness, tangents
from smooth_interpolation.measure.sharpness import loss_gradients, tangent_hessian_norm
from smooth_interpolation.train.models import ConvNet, ResNet18

N, M = 4, 3


def tiny(activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5)]
    return nn.Sequential(*layers).double()


def points(side=4, n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)
    return images, torch.arange(n) % 5


def dense(model, x, y):
    """The whole Hessian of one point's loss, row by row."""

    def loss(z):
        return F.cross_entropy(model(z.view(1, *x.shape)), y[None])

    return torch.autograd.functional.hessian(loss, x.flatten())


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_products_are_those_of_the_dense_hessian(activation):
    model, (images, labels) = tiny(activation), points()
    directions = torch.randn(N, M, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = curvature.hessian_products(model, images, directions, labels).flatten(2)
    for n in range(N):
        expected = directions[n].flatten(1) @ dense(model, images[n], labels[n])
        torch.testing.assert_close(found[n], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [ConvNet, ResNet18])
def test_the_books_networks_can_be_differentiated_twice(kind):
    torch.manual_seed(0)
    model = kind(2, 10)
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([1, 7])
    v = torch.randn(2, 1, 3, 32, 32)
    single = curvature.hessian_products(model, images, v, labels)
    reference = kind(2, 10).double()
    reference.load_state_dict(model.state_dict())
    double = curvature.hessian_products(reference, images.double(), v.double(), labels)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-6 * double.abs().max().item())
    x = images.double().requires_grad_()
    (gradient,) = torch.autograd.grad(
        F.cross_entropy(reference.eval()(x), labels, reduction="sum"), x, create_graph=True
    )
    (twice,) = torch.autograd.grad((gradient * v[:, 0].double()).sum(), x)
    torch.testing.assert_close(double[:, 0], twice, rtol=1e-9, atol=1e-12)


def test_finite_differences_tend_to_the_exact_norm():
    model, (images, labels) = tiny(), points()
    steps = torch.randn(N, M, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for delta in (1e-3, 1e-4):
        moved = images[:, None] + delta * steps
        exact = curvature.exact_tangent_hessian_norm(model, images, moved, labels, delta)
        finite = tangent_hessian_norm(model, images, moved, labels, delta)
        assert (finite / exact - 1).abs().max() < 30 * delta
    squares = [steps[n].flatten(1) @ dense(model, images[n], labels[n]) for n in range(N)]
    expected = torch.stack([s.square().sum().sqrt() for s in squares]) * 1e-4 / (M**2 * 1e-8)
    torch.testing.assert_close(exact, expected, rtol=1e-8, atol=0)


def test_errors_of_differences_fall_with_the_step_for_smooth_networks():
    model, (images, labels) = tiny(), points()
    moved = images[:, None] + 0.1 * torch.randn(N, M, 3, 4, 4, dtype=torch.float64)
    errors = curvature.difference_errors(model, images, moved, labels, [1.0, 0.1, 0.01])
    assert errors.shape == (3, N, M)
    large, middle, small = errors.flatten(1).median(1).values
    assert large > 5 * middle > 25 * small


def test_regions_of_a_relu_network_have_exact_differences():
    model, (images, labels) = tiny(nn.ReLU), points()
    constant = lambda y, t: y.square().sum(1)  # noqa: E731, quadratic in the logits, so quadratic between kinks
    moved = images[:, None] + 1e-6 * torch.randn(N, M, 3, 4, 4, dtype=torch.float64)
    errors = curvature.difference_errors(model, images, moved, labels, [1.0], loss=constant)
    assert errors.max() < 1e-6


def test_hutchinsons_estimate_covers_the_dense_norm():
    model, (images, labels) = tiny(), points(n=20)
    exact = torch.stack([dense(model, x, y).norm() for x, y in zip(images, labels, strict=True)])
    found = curvature.hessian_frobenius_norm(model, images, labels, n_samples=400)
    deviations = (found.norm - exact) / found.error
    assert deviations.abs().max() < 5 and 0.4 < deviations.square().mean() < 2.2  # the errors are honest
    few = curvature.hessian_frobenius_norm(model, images, labels, n_samples=25)
    assert 2.5 < (few.error / found.error).median() < 6  # a quarter of the root of the samples


def test_draws_do_not_depend_on_chunks_or_neighbours(monkeypatch):
    model, (images, labels) = tiny(), points()
    whole = curvature.hessian_frobenius_norm(model, images, labels, n_samples=3, seed=5)
    monkeypatch.setattr(sharpness, "CPU_CHUNK", (1, 1))
    parts = curvature.hessian_frobenius_norm(model, images, labels, n_samples=3, seed=5)
    first = curvature.hessian_frobenius_norm(model, images[:2], labels[:2], n_samples=3, seed=5)
    torch.testing.assert_close(whole.norm, parts.norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(whole.norm[:2], first.norm, rtol=1e-12, atol=0)
    other = curvature.hessian_frobenius_norm(model, images, labels, n_samples=3, seed=6)
    assert not torch.allclose(whole.norm, other.norm)


def test_a_linear_loss_has_no_curvature():
    model, (images, labels) = tiny(nn.Identity), points()
    found = curvature.hessian_frobenius_norm(model, images, labels, loss=lambda y, t: y.sum(1))
    assert (found.norm == 0).all() and (found.error == 0).all()


def test_the_network_is_left_as_it_was():
    model, (images, labels) = tiny().train(), points()
    curvature.hessian_frobenius_norm(model, images, labels, n_samples=2)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    before = loss_gradients(model, images, labels)
    curvature.hessian_products(model, images, images[:, None], labels)
    assert torch.equal(before, loss_gradients(model, images, labels))


def test_what_cannot_be_measured_is_a_sentence():
    model, (images, labels) = tiny(), points()
    with pytest.raises(DataError, match="directions must have shape"):
        curvature.hessian_products(model, images, images, labels)
    for n_samples in (1, 2.5, True):
        with pytest.raises(ConfigError, match="n_samples is"):
            curvature.hessian_frobenius_norm(model, images, labels, n_samples=n_samples)
    with pytest.raises(ConfigError, match="delta is 0"):
        curvature.exact_tangent_hessian_norm(model, images, images[:, None], labels, 0)
    with pytest.raises(DataError, match="M of at least 1"):
        curvature.exact_tangent_hessian_norm(model, images, images[:, None][:, :0], labels, 0.1)

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g

    class Opaque(nn.Module):
        def forward(self, x):
            return Once.apply(x).flatten(1)[:, :5]

    with pytest.raises(DataError, match="cannot be differentiated twice"):
        curvature.hessian_products(Opaque(), images, images[:, None], labels)


def test_along_the_papers_tangents():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    jitters = tangents.draw_jitters(images, 1, 4, seed=0)[:, 0]
    moved = tangents.apply_jitters(images, jitters)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.Tanh(), nn.Linear(20, 5)).double()
    labels = torch.tensor([0, 3])
    exact = curvature.exact_tangent_hessian_norm(model, images, moved, labels, 0.1)
    finite = tangent_hessian_norm(model, images, moved, labels, 0.1)
    assert ((finite / exact) - 1).abs().max() < 0.05
