"""Networks, normalisations, losses and arrays as people have them, against closed forms and slow float64 references."""

import dataclasses
import warnings
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import transforms as T
from torchvision.models import VisionTransformer
from torchvision.transforms import v2

from smooth_interpolation.errors import UserError
from smooth_interpolation.measure import curvature, paths, tangents
from smooth_interpolation.measure.neighbours import features
from smooth_interpolation.measure.sharpness import jacobian_norm, loss_gradients, tangent_hessian_norm
from smooth_interpolation.measure.volumes import volume_metrics
from smooth_interpolation.your_network import examine

X = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6)
FAST = {"n_paths": 1, "n_tangents": 2, "strengths": (2, 5)}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
WEIGHTS = torch.linspace(0.5, 2, 10)


def linear(n_inputs=3 * 32 * 32, n_out=10):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, n_out))


def transformer(image_size=32):
    torch.manual_seed(2)
    vit = VisionTransformer(
        image_size=image_size, patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=10
    )
    nn.init.normal_(vit.heads[0].weight)
    return vit


def reference(network, normalize, images=X, labels=Y, weights=None, delta=0.1):
    """Loss, Jacobian and tangent Hessian norm over volumes, image by image, anchor by anchor, in float64.

    `normalize` is a function of one image alone; the mean over paths of Equation 6's trapezoidal rule, written out.
    """
    network = network.double().eval()
    along = paths.svd_paths(images, FAST["strengths"], FAST["n_paths"])[:, 0]
    jitters = tangents.draw_jitters(images, len(FAST["strengths"]) + 1, FAST["n_tangents"], 0)

    def at(image, label):
        x = normalize(image.double()[None]).detach().clone().requires_grad_()
        loss = F.cross_entropy(network(x), label[None], weight=weights, reduction="none")
        return loss.detach(), torch.autograd.grad(loss.sum(), x)[0], x.detach()

    found = []
    for anchors, moves, label in zip(along, jitters, labels, strict=True):
        values, points = [], []
        for anchor, move in zip(anchors, moves, strict=True):
            loss, gradient, x = at(anchor, label)
            copies = tangents.apply_jitters(anchor[None], move[None])[0]
            square = sum((at(copy, label)[1] - gradient).square().sum() for copy in copies)
            values.append([loss.item(), gradient.norm().item(), square.sqrt().item() / (len(move) * delta) ** 2])
            points.append(x)
        values, lengths = torch.tensor(values), [(b - a).norm() for a, b in zip(points, points[1:], strict=False)]
        sums = [length * (a + b) / 2 for length, a, b in zip(lengths, values, values[1:], strict=False)]
        sizes = range(1, len(lengths) + 1)
        found.append(torch.stack([values[0], *(sum(sums[:k]) / sum(lengths[:k]) for k in sizes)]))
    return torch.stack(found).double().unbind(2)


def measured(network, **options):
    found = volume_metrics(network, X, Y, **FAST, **options)
    return found.crossentropy, found.jacobian_norm, found.tangent_hessian_norm


def agree(found, expected, rtol=2e-3):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=1e-5)


# What was tried: normalisations

MEANS, STDS = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]


def standardised(x):
    return (x - MEANS) / STDS


def in_place(x):
    return x.sub_(MEANS).div_(STDS)


def by_channel_of_a_batch(x):
    for channel in range(3):
        x[:, channel] = (x[:, channel] - MEAN[channel]) / STD[channel]
    return x


def own_mean(x):
    return (x - x.mean(dim=(1, 2, 3), keepdim=True)) / x.std(dim=(1, 2, 3), keepdim=True)


def grey(x):
    return x.mean(dim=1, keepdim=True)


class Learned(nn.Module):
    """With dropout and batch normalisation that must rest, parameters that ask for gradients, and a buffer."""

    def __init__(self):
        super().__init__()
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(3)
        self.norm.running_mean.copy_(torch.tensor(MEAN))
        self.norm.running_var.copy_(torch.tensor(STD).square() - self.norm.eps)

    def forward(self, x):
        return self.norm(self.dropout(x))


def resized(x):
    return F.interpolate(x, (8, 8), mode="bilinear", antialias=True)


PRESET = T.Compose([T.Resize(20), T.CenterCrop(16), T.Normalize(MEAN, STD)])
NORMALISATIONS = {
    "torchvision's Normalize": (T.Normalize(MEAN, STD), standardised, 3072),
    "torchvision's Normalize in place": (T.Normalize(MEAN, STD, inplace=True), standardised, 3072),
    "torchvision's second version, in place": (v2.Normalize(MEAN, STD, inplace=True), standardised, 3072),
    "sub_ and div_": (in_place, standardised, 3072),
    "channels of dimension 1, set one by one": (by_channel_of_a_batch, standardised, 3072),
    "each image's own mean and deviation": (own_mean, own_mean, 3072),
    "grey by the mean over dimension 1": (grey, grey, 1024),
    "flattened": (lambda x: standardised(x).flatten(1), standardised, 3072),
    "viewed as vectors": (lambda x: x.view(len(x), -1), lambda x: x, 3072),
    "resized": (resized, resized, 192),
    "padded": (
        lambda x: F.pad(x, (2, 2, 2, 2), mode="reflect"),
        lambda x: F.pad(x, (2, 2, 2, 2), mode="reflect"),
        3888,
    ),
    "blurred": (T.GaussianBlur(3, sigma=1.0), T.GaussianBlur(3, sigma=1.0), 3072),
    "a chain that resizes, crops and normalises": (PRESET, PRESET, 768),
    "a module in training mode": (Learned(), standardised, 3072),
    "in float64, for a network in float32": (lambda x: standardised(x.double()), standardised, 3072),
    "a view of a larger tensor": (lambda x: torch.stack([standardised(x)] * 2)[1], standardised, 3072),
}


@pytest.mark.parametrize("case", NORMALISATIONS)
def test_normalisations_are_given_copies_of_plain_batches(case):
    normalize, alone, n_inputs = NORMALISATIONS[case]
    before = X.clone()
    expected = reference(linear(n_inputs), alone)
    agree(measured(linear(n_inputs), normalize=normalize), expected)
    table = examine(linear(n_inputs), X, Y, normalize=normalize, **FAST).volumes
    for metric, values in zip(("crossentropy", "jacobian_norm", "tangent_hessian_norm"), expected, strict=True):
        of = table[table.metric == metric].sort_values("size")
        np.testing.assert_allclose(of["mean"], values.mean(0), rtol=2e-3)
    assert torch.equal(X, before)
    if isinstance(normalize, Learned):
        assert normalize.training and normalize.dropout.training and normalize.norm.weight.requires_grad


def test_normalisations_are_given_plain_batches_of_images_in_any_layout():
    channels_last = X.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    normalize, _, _ = NORMALISATIONS["viewed as vectors"]
    found = examine(linear(), channels_last, Y, normalize=normalize, **FAST).volumes
    assert found.equals(examine(linear(), X, Y, normalize=normalize, **FAST).volumes)


REFUSED_NORMALISATIONS = {
    "the mean over the batch": (
        lambda x: x - x.mean(dim=(0, 2, 3), keepdim=True),
        "depends on the others of its batch",
    ),
    "random": (T.RandomErasing(p=1.0), "another answer each time"),
    "random in half of the cases": (T.RandomHorizontalFlip(0.5), "another answer each time"),
    "five crops": (T.FiveCrop(16), "must return floating point inputs, one for each of 1 images, not tuple"),
    "back to bytes": (lambda x: (255 * x).byte(), "not torch.uint8 of shape"),
    "the first image alone": (lambda x: x[0], "one for each of 1 images, not torch.float32 of shape"),
    "a division by 0": (lambda x: x / 0, "NaN or infinite"),
    "for one channel": (T.Normalize([0.5] * 4, [0.5] * 4), r"normalize cannot take images of shape \(1, 3, 32, 32\): "),
    "an assertion without words": (lambda x: exec("assert False"), "normalize cannot take .* AssertionError"),
    "no function": (0.5, "must be a function"),
}


@pytest.mark.parametrize("case", REFUSED_NORMALISATIONS)
@pytest.mark.parametrize("measure", [examine, volume_metrics])
def test_normalisations_of_another_kind_are_refused_in_a_sentence(case, measure):
    normalize, words = REFUSED_NORMALISATIONS[case]
    with pytest.raises(UserError, match=words) as error:
        measure(linear(), X, Y, normalize=normalize, **FAST)
    assert "\n" not in str(error.value)


# What was tried: losses and outputs


@dataclasses.dataclass(frozen=True)
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


class Model(dict):
    """A dictionary with attributes, as some libraries return."""

    __getattr__ = dict.__getitem__


Pair = namedtuple("Pair", "logits, rest")


class Returning(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = linear(), wrap

    def forward(self, x):
        return self.wrap(self.inner(x))


def entropy(logits, targets, weight=None):
    return F.cross_entropy(logits, targets, weight=weight, reduction="none")


def entropy_in_place(outputs, targets):
    outputs -= outputs.logsumexp(1, keepdim=True).detach()
    losses = entropy(outputs, targets.clone())
    targets.zero_()
    outputs.data.zero_()
    return losses


LOSSES = {
    "a dictionary": (lambda y: {"logits": y}, lambda o, t: entropy(o["logits"], t), None),
    "a tuple": (lambda y: (y, y.detach()), lambda o, t: entropy(o[0], t), None),
    "a list in a dictionary": (lambda y: {"all": [y]}, lambda o, t: entropy(o["all"][0], t), None),
    "a named tuple": (lambda y: Pair(y, None), lambda o, t: entropy(o.logits, t), None),
    "a frozen dataclass": (Answer, lambda o, t: entropy(o.logits, t), None),
    "a dictionary with attributes": (lambda y: Model(logits=y), lambda o, t: entropy(o.logits, t), None),
    "logits with the classes first": (lambda y: y.T, lambda o, t: entropy(o.T, t), None),
    "outputs and targets changed in place": (lambda y: y, entropy_in_place, None),
    "class weights in float32": (lambda y: y, lambda o, t: entropy(o, t, WEIGHTS), WEIGHTS),
    "class weights in float64": (lambda y: y, lambda o, t: entropy(o, t, WEIGHTS.double()), WEIGHTS),
    "a module with class weights": (lambda y: y, nn.CrossEntropyLoss(WEIGHTS, reduction="none"), WEIGHTS),
    "a dictionary, and class weights": (lambda y: {"y": y}, lambda o, t: entropy(o["y"], t, WEIGHTS), WEIGHTS),
}


@pytest.mark.parametrize("case", LOSSES)
def test_with_a_loss_outputs_may_be_anything(case):
    wrap, loss, weights = LOSSES[case]
    images, labels = X.clone(), Y.clone()
    weights = None if weights is None else weights.double()
    expected = reference(linear(), lambda x: x, weights=weights)
    agree(measured(Returning(wrap), loss=loss), expected)
    assert torch.equal(images, X) and torch.equal(labels, Y)
    found = examine(Returning(wrap), X, Y, loss=loss, **FAST).points
    np.testing.assert_allclose(found[found["size"] == 0].loss, expected[0][:, 0], rtol=1e-4)
    norms = jacobian_norm(Returning(wrap), X, Y, loss=loss)
    torch.testing.assert_close(norms.double(), expected[1][:, 0], rtol=1e-4, atol=0)
    own = curvature.hessian_products(Returning(wrap), X, X[:, None], Y, loss=loss)
    same = curvature.hessian_products(
        linear().double(), X.double(), X[:, None].double(), Y, loss=lambda o, t: entropy(o, t, weights)
    )
    torch.testing.assert_close(own.double(), same, rtol=1e-3, atol=1e-6)
    assert torch.equal(Y, torch.arange(6))


def test_a_networks_own_outputs_may_be_changed_by_the_loss_in_float64_too():
    network = linear().double()
    found = volume_metrics(network, X.double(), Y, loss=entropy_in_place, **FAST)
    plain = volume_metrics(network, X.double(), Y, **FAST)
    torch.testing.assert_close(found.jacobian_norm, plain.jacobian_norm)
    torch.testing.assert_close(found.accuracy, plain.accuracy)


def test_a_loss_that_is_a_module_rests_and_is_put_back():
    loss = nn.CrossEntropyLoss(WEIGHTS, reduction="none")
    loss.dropout = nn.Dropout(0.5).train()
    loss.forward = lambda o, t: entropy(loss.dropout(o), t)
    agree(measured(linear(), loss=loss), reference(linear(), lambda x: x))
    assert loss.training and loss.dropout.training


def test_what_a_loss_raises_is_a_sentence():
    def raises(outputs, targets):
        raise KeyError("labels")

    for loss, words in ((raises, "KeyError: 'labels'"), (lambda o, t: o.missing, "cannot take outputs .+, 10. and")):
        for measure in (examine, volume_metrics):
            with pytest.raises(UserError, match=words):
                measure(linear(), X, Y, loss=loss, **FAST)


# What was tried: places where gradients are off


def everything(images=X, labels=Y, network=None, loss=None):
    """Every measure that a caller can ask for, as a list of tensors."""
    network = network or linear()
    moved, steps = images[:, None] * 1.01, images[:, None] * 0.01
    found = curvature.hessian_frobenius_norm(network, images, labels, n_samples=2, loss=loss)
    table = examine(network, images, labels, loss=loss, **FAST).points
    return [
        loss_gradients(network, images, labels, loss=loss),
        jacobian_norm(network, images, labels, loss=loss),
        tangent_hessian_norm(network, images, moved, labels, 0.1, loss=loss),
        curvature.hessian_products(network, images, steps, labels, loss=loss),
        curvature.exact_tangent_hessian_norm(network, images, moved, labels, 0.1, loss=loss),
        curvature.difference_errors(network, images, moved, labels, [1.0], loss=loss),
        *found,
        *volume_metrics(network, images, labels, normalize=T.Normalize(MEAN, STD, inplace=True), loss=loss, **FAST),
        *features(network, images),
        torch.tensor(table.jacobian_norm.to_numpy()),
    ]


def with_buffers():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10)
    )


MADE_WITHIN = ["the call alone", "data", "data, network and loss"]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("make", [linear, with_buffers])
@pytest.mark.parametrize("what", MADE_WITHIN)
def test_measures_work_where_gradients_are_off(mode, make, what):
    def loss(outputs, targets):
        return (outputs - targets).square().sum(1)

    targets = torch.rand(6, 10, generator=torch.Generator().manual_seed(4))
    expected = everything(X, targets, make(), loss), everything(network=make())
    network, images, labels, values = make(), X, Y, targets
    with mode():
        if what != "the call alone":
            images, labels, values = X.clone(), Y.clone(), targets.clone()
        if what == "data, network and loss":
            network = make()
        found = everything(images, values, network, loss), everything(images, labels, network)
    outside = everything(images, values, network, loss), everything(images, labels, network)
    for kind in (0, 1):
        for one, other, third in zip(expected[kind], found[kind], outside[kind], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
            torch.testing.assert_close(one, third, rtol=0, atol=0, equal_nan=True)
    made_there = mode is torch.inference_mode and what == "data, network and loss"
    assert all(p.is_inference() == made_there and p.requires_grad for p in network.parameters())


# What was tried: networks that raise


class Raising(nn.Module):
    """Raises something on the way forward or backward, after having changed the modes of its parts."""

    def __init__(self, error, where="forward"):
        super().__init__()
        self.inner, self.dropout, self.error, self.where = linear(), nn.Dropout(), error, where
        self.inner[0].eval()
        self.inner[1].weight.requires_grad_(False)

    def forward(self, x):
        self.train()
        self.inner[1].weight.requires_grad_(True)
        if self.where == "forward":
            raise self.error
        y = self.inner(x)
        if y.requires_grad:
            y.register_hook(self.refuse)
        return y

    def refuse(self, gradient):
        raise self.error

    def eval(self):
        self.inner.eval()
        if self.where == "eval":
            raise self.error
        return super().eval()


def uninitialised():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10), nn.LazyBatchNorm1d())


def exported():
    return torch.export.export(linear(), (X,)).module()


RAISING = {
    "a transformer for 64 x 64": (lambda: transformer(64), "Wrong image height! Expected 64 but got 32"),
    "an uninitialised one": (uninitialised, "uninitialised parameters"),
    "an exported one": (exported, r"evaluation mode: Calling eval\(\) is not supported"),
    "one on no device": (lambda: linear().to("meta"), "without values"),
    "no forward": (nn.Module, "missing the required .forward. function"),
    "modules in a list": (lambda: nn.ModuleList([linear()]), "missing the required .forward. function"),
    "not implemented": (lambda: Raising(NotImplementedError()), "images? .* NotImplementedError"),
    "an attribute": (lambda: Raising(AttributeError("no mask")), "images? of shape .3, 32, 32.: no mask"),
    "a key": (lambda: Raising(KeyError("mask")), "KeyError: 'mask'"),
    "a division": (lambda: Raising(ZeroDivisionError("division by zero")), "division by zero"),
    "the end of an iterator": (lambda: Raising(StopIteration()), "StopIteration"),
    "several lines": (lambda: Raising(RuntimeError("\nfirst.\nsecond")), ": first.$"),
    "on the way back": (
        lambda: Raising(MemoryError("too large"), "backward"),
        "cannot be differentiated .*: too large",
    ),
    "in eval()": (lambda: Raising(OSError("busy"), "eval"), "cannot be put into evaluation mode: busy"),
    "in a script": (lambda: torch.jit.trace(linear(3 * 16 * 16), X[:, :, :16, :16]), "shapes cannot be multiplied"),
}


def state(network):
    flags = [p.requires_grad for p in network.parameters()]
    return (
        [getattr(m, "training", None) for m in network.modules()],
        flags,
        [hasattr(p, "grad") for p in network.parameters()],
    )


@pytest.mark.parametrize("case", RAISING)
def test_whatever_a_network_raises_is_one_sentence_and_it_is_put_back(case):
    make, words = RAISING[case]
    network = make()
    before = state(network)
    measures = [
        lambda: examine(network, X, Y, **FAST),
        lambda: volume_metrics(network, X, Y, **FAST),
        lambda: jacobian_norm(network, X, Y),
        lambda: loss_gradients(network, X, Y, memory=1),
        lambda: tangent_hessian_norm(network, X, X[:, None], Y, 0.1),
    ]
    for measure in measures:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(UserError, match=words) as error:
                measure()
        assert "\n" not in str(error.value)
        assert state(network) == before


class Viewing(nn.Module):
    """With views that the layout of its input or of a convolution may not allow."""

    def __init__(self, network, before=nn.Identity):
        super().__init__()
        self.before, self.inner = before(), network

    def forward(self, x):
        x = self.before(x)
        return self.inner(x.view(x.size(0), -1))


@pytest.mark.parametrize("before", [nn.Identity, lambda: nn.AvgPool2d(2), lambda: nn.Conv2d(3, 4, 5)])
def test_networks_that_view_what_they_are_given_are_measured(before):
    torch.manual_seed(0)
    network = Viewing(nn.LazyLinear(10), before)
    network(X)
    agree(measured(network), reference(network, lambda x: x))
    network.float()
    expected = curvature.hessian_products(nn.Sequential(network.before, nn.Flatten(), network.inner), X, X[:, None], Y)
    torch.testing.assert_close(curvature.hessian_products(network, X, X[:, None], Y), expected, rtol=1e-4, atol=1e-7)


def test_a_layout_that_a_network_does_not_take_is_tried_once():
    network, layouts = Viewing(linear()), []
    network.register_forward_pre_hook(lambda _, args: layouts.append(args[0].is_contiguous()))
    for _ in range(2):
        measured(network)
    assert layouts.count(False) == 1 and layouts.count(True) > 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_networks_that_diverged_are_said_to_have(value):
    network = linear()
    network[1].weight.data.fill_(value)
    with pytest.warns(UserWarning, match="NaN or infinite") as said:
        assert examine(network, X, Y, **FAST).points.crossentropy.isna().all()
    assert not any("another answer" in str(one.message) for one in said)


@pytest.mark.parametrize("freeze", [torch.jit.script, lambda network: torch.jit.freeze(torch.jit.script(network))])
def test_scripted_and_frozen_networks_are_measured(freeze):
    network = freeze(linear().eval())
    agree(measured(network), reference(linear(), lambda x: x))
    assert len(curvature.hessian_products(network, X, X[:, None], Y)) == len(X)


# What was tried: second derivatives


class Squared(torch.autograd.Function):
    """Without a rule in forward mode, as people write them."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class Attending(nn.Module):
    """Attention asked for directly, between the rows of an image."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(F.scaled_dot_product_attention(x, x * 2, x))


class Function(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(Squared.apply(x))


TWICE = {
    "a vision transformer": transformer,
    "attention by itself": Attending,
    "a function of one's own": Function,
    "the encoder's layer": lambda: nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(1024, 2, 8, batch_first=True), linear()
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_second_derivatives_are_those_of_gradients(case):
    network = TWICE[case]().double().eval()
    images, step = X[:2].double(), 1e-4
    direction = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(5)).double()
    ahead, back = (loss_gradients(network, images + way * step * direction[:, 0], Y[:2]) for way in (1, -1))
    expected = (ahead - back) / (2 * step)
    found = curvature.hessian_products(network, images, direction, Y[:2])[:, 0]
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


# What was tried: compiled networks


class Counting:
    """A compiler that counts what it is asked for."""

    def __init__(self):
        self.asked = 0

    def __call__(self, graph, inputs):
        self.asked += 1
        return graph.forward


def wholly(network, backend):
    return torch.compile(network, backend=backend)


def in_place_of_itself(network, backend):
    network.compile(backend=backend)
    return network


def partly(network, backend):
    network[1] = torch.compile(network[1], backend=backend)
    return network


class Decorated(nn.Module):
    def __init__(self, network, backend):
        super().__init__()
        self.inner = network
        self.call = torch.compile(lambda x: network(x), backend=backend)

    def forward(self, x):
        return self.call(x)


COMPILED = {
    "the whole of it": wholly,
    "by its own compile()": in_place_of_itself,
    "a layer": partly,
    "a function that it calls": Decorated,
}


@pytest.mark.parametrize("case", COMPILED)
def test_compiled_networks_are_measured_without_compiling(case):
    backend = Counting()
    network = COMPILED[case](with_buffers(), backend)
    network(X)
    asked = backend.asked
    assert asked
    found = everything(network=network)
    assert backend.asked == asked and network.training
    for one, other in zip(found, everything(network=with_buffers_after(X)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    network(X[:, :, :, :].flip(3))
    assert backend.asked == asked  # it is still compiled, for the same shapes


def test_normalisations_and_losses_are_not_compiled_either():
    backend = Counting()
    normalize, loss = torch.compile(in_place, backend=backend), torch.compile(entropy, backend=backend)
    found = examine(linear(), X, Y, normalize=normalize, loss=loss, **FAST)
    assert not backend.asked
    assert found.points.equals(examine(linear(), X, Y, normalize=in_place, loss=entropy, **FAST).points)


def with_buffers_after(images):
    network = with_buffers()
    network(images)
    return network


# What was tried: arrays


SMALL = X[:, :, :8, :8].contiguous()
INDEX = list("fedcba")
LABELS = {
    "a list": Y.tolist(),
    "a tuple": tuple(Y.tolist()),
    "a range": range(6),
    "a list of tensors": list(Y),
    "a list of NumPy's integers": list(Y.numpy()),
    "a tensor made under inference_mode": torch.inference_mode()(lambda: Y.clone())(),
    "backwards in memory": np.arange(5, -1, -1)[::-1],
    "every other of an array": np.repeat(np.arange(6), 2)[::2],
    "a column": np.stack([np.arange(6), np.zeros(6, int)], axis=1)[:, 0],
    "read-only": np.broadcast_to(np.arange(6), (6,)),
    **{
        f"NumPy's {kind}": np.arange(6).astype(kind)
        for kind in ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2"]
    },
    **{f"a tensor of {kind}": Y.to(kind) for kind in (torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32)},
    "pandas with letters as index": pd.Series(range(6), index=INDEX),
    "pandas with an index that counts down": pd.Series(range(6), index=range(5, -1, -1)),
    "pandas with gaps in its index": pd.Series(range(12)).iloc[:6].set_axis([9, 3, 7, 1, 5, 2]),
    "pandas' own integers": pd.Series(range(6), dtype="Int64", index=INDEX),
    "pandas' categories": pd.Series(range(6), index=INDEX).astype("category"),
    "pandas' objects": pd.Series(list(range(6)), dtype=object),
    "an index of pandas": pd.Index(range(6)),
}
MASK = np.array([True, False, False, True, False, True])
MASKS = {
    "a list": MASK.tolist(),
    "a tensor": torch.tensor(MASK),
    "backwards in memory": MASK[::-1].copy()[::-1],
    "pandas with letters as index": pd.Series(MASK, index=INDEX),
    "pandas' own booleans": pd.Series(MASK, dtype="boolean", index=range(5, -1, -1)),
    "ones and zeros": MASK.astype(int).tolist(),
    "bytes": MASK.astype("u1"),
}


def pictures(images):
    return [Image.fromarray((255 * image).byte().permute(1, 2, 0).numpy()) for image in images]


def small(data=SMALL, labels=Y, **options):
    return examine(linear(3 * 8 * 8), data, labels, **FAST, **options)


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_every_kind_are_the_same_labels(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert small(labels=LABELS[case]).points.equals(small().points)
        assert small((SMALL, LABELS[case]), None).points.equals(small().points)
        network = linear(3 * 8 * 8)
        for measure in (
            lambda labels: torch.stack(volume_metrics(network, SMALL, labels, **FAST)),
            lambda labels: jacobian_norm(network, SMALL, labels),
        ):
            assert torch.equal(measure(LABELS[case]), measure(Y))


@pytest.mark.parametrize("case", MASKS)
def test_masks_of_every_kind_are_the_same_mask(case):
    found, expected = small(noisy=MASKS[case]), small(noisy=torch.tensor(MASK))
    assert found.points.equals(expected.points) and found.volumes.equals(expected.volumes)
    assert found.points[found.points["size"] == 0].noisy.tolist() == MASK.tolist()


REFUSED = {
    "text": ({"labels": list("abcdef")}, "Labels must be numbers, not 'a': number the classes"),
    "text of pandas": ({"labels": pd.Series(list("abcdef"))}, "Labels must be numbers, not 'a'"),
    "text of NumPy": ({"labels": np.array(list("abcdef"))}, "Labels must be numbers, not 'a'"),
    "digits": ({"labels": list("012345")}, "Labels must be numbers, not '0'"),
    "one text": ({"labels": "012345"}, "Labels must be numbers"),
    "a set": ({"labels": set(range(6))}, "Labels must be numbers"),
    "a mapping": ({"labels": {0: 1}}, "Labels must be numbers"),
    "a missing one": ({"labels": pd.Series([0, 1, 2, 3, 4, None])}, "Labels must be 6 integers"),
    "a missing one of pandas' own": ({"labels": pd.Series([0, 1, 2, 3, 4, None], dtype="Int64")}, "Labels must be"),
    "masked ones": ({"labels": np.ma.masked_equal(range(6), 3)}, "Labels have masked entries"),
    "sparse ones": ({"labels": torch.arange(6).to_sparse()}, "Labels are a tensor that is sparse"),
    "ones without values": (
        {"labels": torch.arange(6, device="meta")},
        "Labels are a tensor that is sparse or without",
    ),
    "sparse images": ({"data": SMALL.to_sparse()}, "(?i)images are a tensor that is sparse"),
    "lists of several lengths": ({"labels": [[0], [1, 2], [3], [4], [5], [6]]}, "Labels cannot be read as an array"),
    "none": ({"labels": None}, "needs labels"),
    "too few for a list of images": ({"data": list(SMALL), "labels": [0, 1]}, "give one for each"),
    "text as mask": ({"noisy": ["yes"] * 6}, "noisy must be numbers, not 'yes'"),
    "indices as mask": ({"noisy": [0, 3, 5]}, "noisy must be 6 booleans"),
    "numbers as mask": ({"noisy": [0, 1, 2, 0, 0, 0]}, "noisy must be 6 booleans"),
    "text in a dataset": ({"data": [(image, "cat") for image in SMALL], "labels": None}, "Labels must be numbers"),
    "a list of arrays with their channels last": (
        {"data": [image.permute(1, 2, 0).numpy() for image in SMALL]},
        r"shape \(6, 8, 8, 3\) have their channels last",
    ),
    "pairs of such and their labels": (
        {"data": [(image.permute(1, 2, 0), i) for i, image in enumerate(SMALL)], "labels": None},
        "have their channels last",
    ),
    "an array of arrays": (
        {"labels": np.array([np.eye(3), *"abcde"], dtype=object)},
        "Labels must be numbers, not array",
    ),
    "images of several sizes": ({"data": [SMALL[0], X[0]], "labels": [0, 1]}, "differ in shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_labels_or_masks_is_said_in_a_sentence(case):
    options, words = REFUSED[case]
    with pytest.raises(UserError, match=words) as error:
        small(**options)
    assert "\n" not in str(error.value)
    if set(options) == {"labels"} and options["labels"] is not None:
        with pytest.raises(UserError, match=words):
            volume_metrics(linear(3 * 8 * 8), SMALL, options["labels"], **FAST)


def test_images_in_lists_and_arrays_of_any_stride():
    expected = small().points
    flipped = np.ascontiguousarray(SMALL.numpy()[..., ::-1])[..., ::-1]
    for images in (list(SMALL), tuple(SMALL), list(SMALL.numpy()), flipped, SMALL.numpy().astype(">f4"), [*SMALL]):
        assert small(images).points.equals(expected)
        assert small((images, Y.tolist()), None).points.equals(expected)
    assert small(list(zip(SMALL, Y.tolist(), strict=True)), None).points.equals(expected)
    of_bytes = small((255 * SMALL).byte()).points
    assert small(pictures(SMALL)).points.equals(of_bytes)
    for n in (1, 2):  # a list of two is not a pair where labels are given
        some = small(SMALL[:n], Y[:n]).points
        for data in (list(SMALL[:n]), list(SMALL[:n].numpy())):
            assert small(data, Y[:n]).points.equals(some)
        assert small(list(zip(SMALL[:n], range(n), strict=True)), None).points.equals(some)
        assert small((list(SMALL[:n]), list(range(n))), None).points.equals(some)


# What was tried: several networks


def test_networks_by_name_are_drawn_and_told_apart():
    networks = {
        "small": linear(192),
        "large": nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.Tanh(), nn.Linear(20, 10)),
    }
    for model in (networks, nn.ModuleDict(networks)):
        found = examine(model, SMALL, Y, noisy=MASK, **FAST)
        assert found.points.width.unique().tolist() == ["small", "large"]
        for name, network in networks.items():
            alone = examine(network, SMALL, Y, noisy=MASK, **FAST).volumes.drop(columns="width")
            assert found.volumes[found.volumes.width == name].drop(columns="width").reset_index(drop=True).equals(alone)
        jacobian = next(panel for panel in found.figure().axes if panel.get_title() == "Jacobian norm")
        drawn = {line.get_label(): line.get_ydata() for line in jacobian.get_lines()}
        assert set(drawn) == {f"{name}, {kind} labels" for name in networks for kind in ("clean", "noisy")}
        table = found.volumes[(found.volumes.metric == "jacobian_norm") & (found.volumes.subset == "noisy")]
        np.testing.assert_array_equal(drawn["large, noisy labels"], table[table.width == "large"]["mean"])
    plain = examine(networks, SMALL, Y, **FAST)
    assert [line.get_label() for line in plain.figure().axes[0].get_lines()] == ["small", "large"]
    assert "Jacobian norm, large: " in plain.figure().get_label()
    assert len(examine({"only": linear(192)}, SMALL, Y, **FAST).figure().axes) == 4
    assert len(examine({2.5: linear(192), np.int64(1): linear(192)}, SMALL, Y, **FAST).figure().axes) == 4


@pytest.mark.parametrize("names", [("small", 2), (True, False), (None, 1), ((1, 2), (3, 4))])
def test_networks_with_names_of_several_kinds_are_refused(names):
    with pytest.raises(UserError, match="by their widths, all numbers, or by names, all text"):
        examine(dict.fromkeys(names, linear(192)), SMALL, Y, **FAST)


# By number in the list of troubles: tests above run every case of these.
TABLES = {
    1: [*NORMALISATIONS, *REFUSED_NORMALISATIONS],
    7: [*LOSSES],
    8: MADE_WITHIN,
    9: [*TWICE],
    10: [*RAISING],
    12: [*LABELS, *MASKS, *REFUSED],
    15: [*COMPILED],
}
