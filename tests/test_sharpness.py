"""The measures at points, against slow float64 references and closed forms."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure import sharpness
from smooth_interpolation.measure.foreign import measuring
from smooth_interpolation.measure.sharpness import chunk_length, jacobian_norm, loss_gradients, tangent_hessian_norm
from smooth_interpolation.train.models import ConvNet, ResNet18

N, M, DELTA = 12, 4, 0.1


class SoftmaxRegression(nn.Module):
    def __init__(self, n_classes=10, n_inputs=3 * 32 * 32, scale=1e-2):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_classes)
        with torch.no_grad():
            self.linear.weight.normal_(0, scale, generator=torch.Generator().manual_seed(5))

    def forward(self, x):
        return self.linear(x.flatten(1))


def points(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(N, 3, 32, 32, generator=generator)
    moved = images[:, None] + 0.02 * torch.randn(N, M, 3, 32, 32, generator=generator)
    return images.to(dtype), moved.to(dtype), torch.randint(0, 10, (N,), generator=generator)


def loss_gradient(model, x, y):
    """One point, float64, nothing clever."""
    x = x.double()[None].requires_grad_()
    F.cross_entropy(model(x), y[None]).backward()
    return x.grad[0]


def network(kind, seed=0):
    torch.manual_seed(seed)
    model = kind(4, 10)
    if kind is ResNet18:  # running statistics other than the initial ones
        model.train()(torch.randn(32, 3, 32, 32))
    return model


@pytest.mark.parametrize("kind", [ConvNet, ResNet18])
def test_measures_agree_with_per_sample_float64_loops(kind):
    model = network(kind)
    images, moved, labels = points()
    reference = network(kind).double().eval()
    gradients = [loss_gradient(reference, x, y) for x, y in zip(images, labels, strict=True)]
    norms = torch.stack([g.norm() for g in gradients])
    torch.testing.assert_close(jacobian_norm(model, images, labels).double(), norms, rtol=1e-5, atol=0)
    hessian = []
    for n in range(N):
        squares = sum((gradients[n] - loss_gradient(reference, moved[n, m], labels[n])).norm() ** 2 for m in range(M))
        hessian.append(squares.sqrt() / (M**2 * DELTA**2))
    found = tangent_hessian_norm(model, images, moved, labels, DELTA).double()
    torch.testing.assert_close(found, torch.stack(hessian), rtol=2e-5, atol=0)
    exact = tangent_hessian_norm(reference, images.double(), moved.double(), labels, DELTA)
    torch.testing.assert_close(exact, torch.stack(hessian), rtol=1e-12, atol=0)


def test_jacobian_of_softmax_regression_is_its_closed_form():
    model = SoftmaxRegression().double()
    images, _, labels = points(torch.float64)
    p = model(images).softmax(1)
    expected = (p - F.one_hot(labels, 10)) @ model.linear.weight  # W^T (p - y)
    torch.testing.assert_close(loss_gradients(model, images, labels).flatten(1), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        jacobian_norm(copy_in_float32(model), images.float(), labels).double(),
        expected.norm(dim=1),
        rtol=1e-5,
        atol=0,
    )


def copy_in_float32(model):
    return copy.deepcopy(model).float()


def test_tangent_hessian_of_softmax_regression_is_exact_for_any_step():
    model = SoftmaxRegression().double()
    images, _, labels = points(torch.float64)
    directions = torch.randn(N, M, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p, w = model(images).softmax(1), model.linear.weight
    # The difference of gradients is exact for any step: W^T (p(x + delta u) - p(x)).
    moved = (images[:, None] + DELTA * directions).flatten(0, 1)
    steps = (model(moved).softmax(1).view(N, M, 10) - p[:, None]) @ w
    exact = steps.flatten(1).norm(dim=1) / (M**2 * DELTA**2)
    found = tangent_hessian_norm(model, images, images[:, None] + DELTA * directions, labels, DELTA)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=0)
    single = tangent_hessian_norm(
        copy_in_float32(model), images.float(), (images[:, None] + DELTA * directions).float(), labels, DELTA
    )
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


def test_tangent_hessian_converges_to_the_closed_form():
    # H = W^T (diag p - p p^T) W
    model = SoftmaxRegression().double()
    images, _, labels = points(torch.float64)
    directions = torch.randn(N, M, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p, w = model(images).softmax(1), model.linear.weight
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    hu = torch.einsum("ci,ncd,dj,nmj->nmi", w, curvature, w, directions.flatten(2)).flatten(1).norm(dim=1)
    delta = 1e-6
    found = tangent_hessian_norm(model, images, images[:, None] + delta * directions, labels, delta) * M**2 * delta
    torch.testing.assert_close(found, hu, rtol=1e-5, atol=0)


def test_root_mean_square_form_differs_by_the_documented_constant():
    model = network(ConvNet).double()
    images, moved, labels = points(torch.float64)
    at_point = loss_gradients(model, images, labels)
    differences = torch.stack([loss_gradients(model, moved[:, m], labels) - at_point for m in range(M)], 1)
    rms = differences.flatten(2).norm(dim=2).square().mean(1).sqrt() / DELTA
    found = tangent_hessian_norm(model, images, moved, labels, DELTA)
    torch.testing.assert_close(found * M**1.5 * DELTA, rms, rtol=1e-10, atol=0)


def test_a_confident_network_keeps_its_gradient():
    # p_y rounds to 1 in float32; the gradient W^T (p - y) is tiny and not 0.
    model = SoftmaxRegression()
    images, _, _ = points()
    with torch.no_grad():
        model.linear.bias += 20 * F.one_hot(torch.tensor(3), 10)
    labels = torch.full((N,), 3)
    exact = jacobian_norm(copy.deepcopy(model).double(), images.double(), labels)
    assert exact.max() < 1e-6
    torch.testing.assert_close(jacobian_norm(model, images, labels).double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_untouched_by_being_measured(training):
    model = network(ResNet18).train(training)
    model.stages[0].eval()  # a mixed mode must survive too
    model.linear.bias.requires_grad_(False)
    images, moved, labels = points()
    F.cross_entropy(model(images), labels).backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    flags = [p.requires_grad for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    tangent_hessian_norm(model, images, moved, labels, DELTA)
    with pytest.raises(DataError):
        jacobian_norm(model, images, labels[:3])
    with pytest.raises(RuntimeError), measuring(model):
        raise RuntimeError
    assert flags == [p.requires_grad for p in model.parameters()]
    assert modes == [m.training for m in model.modules()]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for name, p in model.named_parameters():
        assert (p.grad is None) == (gradients[name] is None)
        assert p.grad is None or torch.equal(p.grad, gradients[name])
    assert not images.requires_grad


@pytest.mark.parametrize("size", [1, 5, N])
def test_chunks_change_nothing(size, monkeypatch):
    model = network(ConvNet).double()
    images, moved, labels = points(torch.float64)
    curvatures, norms = tangent_hessian_norm(model, images, moved, labels, DELTA), jacobian_norm(model, images, labels)
    monkeypatch.setattr(sharpness, "chunk_length", lambda *_: size)
    found = tangent_hessian_norm(model, images, moved, labels, DELTA)
    torch.testing.assert_close(found, curvatures, rtol=1e-9, atol=0)
    torch.testing.assert_close(jacobian_norm(model, images, labels), norms, rtol=1e-10, atol=0)


def test_chunk_length_follows_the_memory_budget():
    images, _, _ = points()
    wide, narrow = ConvNet(32), ConvNet(2)
    small = chunk_length(wide, images[:1], memory=1 << 22)
    assert (
        1
        <= small
        < chunk_length(wide, images[:1], memory=1 << 26)
        < chunk_length(narrow, images[:1], memory=1 << 28) + 1
    )
    assert chunk_length(wide, images[:1], memory=1) == 1


def test_memory_is_bounded_whatever_the_number_of_points():
    code = """
import resource, torch
from smooth_interpolation.measure.sharpness import jacobian_norm, tangent_hessian_norm
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
images, labels = torch.rand(1, 3, 32, 32), torch.zeros(50_000, dtype=torch.long)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB
jacobian_norm(model, images, labels[:1])
before = peak()
many = images.expand(50_000, -1, -1, -1)  # takes no memory; its gradients would take 0.6 GB
jacobian_norm(model, many, labels, memory=1 << 26)
tangent_hessian_norm(model, many, many[:, None], labels, 0.1, memory=1 << 26)
print(peak() - before)
"""
    given_back = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }  # else holes in the heap are counted, by chance 500 MiB
    result = subprocess.run([sys.executable, "-c", code], env=given_back, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 100


def test_works_inside_no_grad_and_under_autocast():
    model = network(ConvNet)
    images, _, labels = points()
    expected = jacobian_norm(model, images, labels)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(jacobian_norm(model, images, labels), expected)


def test_networks_that_work_in_place_are_measured():
    images, _, labels = points()
    linear = SoftmaxRegression()
    ours = jacobian_norm(nn.Sequential(nn.ReLU(inplace=True), linear), images, labels)
    assert torch.equal(ours, jacobian_norm(nn.Sequential(nn.ReLU(), linear), images, labels))


class Odd(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.linear, self.change = SoftmaxRegression(), change

    def forward(self, x):
        return self.change(self.linear(x))


def test_bad_input_is_one_sentence():
    model = network(ConvNet)
    images, moved, labels = points()
    cases = [
        (DataError, "integers", lambda: jacobian_norm(model, images, labels.float())),
        (DataError, "one per image", lambda: jacobian_norm(model, images, labels[:4])),
        (DataError, "floating point", lambda: jacobian_norm(model, (images * 0).byte(), labels)),
        (DataError, "finite", lambda: jacobian_norm(model, images * float("nan"), labels)),
        (DataError, "negative", lambda: jacobian_norm(model, images, labels - 10)),
        (DataError, "0..9", lambda: jacobian_norm(model, images, labels + 10)),
        (ConfigError, "float32 or wider", lambda: jacobian_norm(network(ConvNet).bfloat16(), images, labels)),
        (ConfigError, "above 0", lambda: tangent_hessian_norm(model, images, moved, labels, 0.0)),
        (DataError, "shape", lambda: tangent_hessian_norm(model, images, moved[:, 0], labels, DELTA)),
        (DataError, "logits", lambda: jacobian_norm(nn.Identity(), images, labels)),
        (DataError, "not a tuple", lambda: jacobian_norm(Odd(lambda z: (z,)), images, labels)),
        (DataError, "differentiably", lambda: jacobian_norm(Odd(lambda z: z.detach()), images, labels)),
        (ConfigError, "torch.nn.Module", lambda: jacobian_norm(lambda z: z, images, labels)),
    ]
    for kind, words, call in cases:
        with pytest.raises(kind, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
