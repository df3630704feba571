"""The measures for networks and data of a user's own: forms of data, losses, and clear errors."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision import transforms as T

from smooth_interpolation import files
from smooth_interpolation.data import dead_leaves
from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure.sharpness import jacobian_norm, loss_gradients, tangent_hessian_norm
from smooth_interpolation.measure.volumes import METRICS, volume_metrics
from smooth_interpolation.runs import tables
from smooth_interpolation.train import models
from smooth_interpolation.your_network import examine, scaled_strengths

FAST = {"n_paths": 1, "n_tangents": 1, "strengths": (2, 5)}


def points(n=6, side=8, n_classes=5):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, side, side, generator=generator), torch.arange(n) % n_classes


def linear(side=8, n_out=5):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, n_out))


class Pairs(Dataset):
    def __init__(self, images, labels, change=lambda image: image):
        self.images, self.labels, self.change = images, labels, change

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.change(self.images[index]), int(self.labels[index])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(*points(), strict=True))


def folder(tmp_path, n=3):
    images, _ = dead_leaves.draw(2 * n, 10, 0, 0)
    for i, image in enumerate(images):
        place = tmp_path / "images" / f"class{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{i}.png")
    return tmp_path / "images", torch.from_numpy(images)


def test_tables_hold_the_measures_means():
    images, labels = points()
    found = examine(linear(), images, labels, **FAST)
    metrics = volume_metrics(linear(), images, labels, **FAST)
    assert list(found.volumes) == list(tables.volumes_table([]))
    assert set(found.volumes.subset) == {"all"}
    for metric in METRICS:
        part = found.volumes[found.volumes.metric == metric].sort_values("size")
        values = getattr(metrics, metric)
        np.testing.assert_allclose(part["mean"], values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(part["std"], values.std(0, unbiased=False), rtol=1e-6, atol=1e-7)
        of_points = found.points.pivot(index="index", columns="size", values=metric)
        np.testing.assert_array_equal(of_points, values)


def test_every_form_of_data_gives_the_same_numbers(tmp_path):
    images, labels = points()
    expected = examine(linear(), images, labels, **FAST).volumes
    bytes_ = (images * 255).round().to(torch.uint8)
    loader = DataLoader(TensorDataset(images, labels), batch_size=2, shuffle=True)
    for data in ((images, labels), TensorDataset(images, labels), Pairs(images, labels), loader, Stream()):
        assert examine(linear(), data, **FAST).volumes.equals(expected)
    assert examine(linear(), images, labels.tolist(), **FAST).volumes.equals(expected)
    assert examine(linear(), images.numpy(), labels.numpy(), **FAST).volumes.equals(expected)
    assert examine(linear(), DataLoader(Stream(), batch_size=4), **FAST).volumes.equals(expected)
    of_bytes = examine(linear(), bytes_, labels, **FAST).volumes
    pictures = Pairs([Image.fromarray(b.permute(1, 2, 0).numpy()) for b in bytes_], labels)
    assert examine(linear(), pictures, **FAST).volumes.equals(of_bytes)
    place, drawn = folder(tmp_path)
    one = examine(linear(32), place, **FAST)
    other = examine(linear(32), torch.cat([drawn[::2], drawn[1::2]]), torch.tensor([0, 0, 0, 1, 1, 1]), **FAST)
    assert one.volumes.equals(other.volumes)


def test_a_single_image():
    images, labels = points()
    one = examine(linear(), images[2], 3, **FAST)
    assert len(one.points) == 3 and (one.volumes["std"] == 0).all()
    assert one.points.jacobian_norm[0] == pytest.approx(jacobian_norm(linear(), images[2:3], torch.tensor([3])).item())
    assert examine(linear(), images[2], labels[3], **FAST).volumes.equals(one.volumes)


def test_subsets_are_stratified_and_weighted_back():
    images, labels = points(40)
    noisy = torch.arange(40) < 8
    found = examine(linear(), images, labels, noisy=noisy, n_points=12, **FAST)
    first = found.points[found.points["size"] == 0]
    assert first.noisy.sum() == 6 and len(first) == 12
    means = found.volumes[(found.volumes.metric == "jacobian_norm") & (found.volumes["size"] == 1)].set_index("subset")[
        "mean"
    ]
    assert means["all"] == pytest.approx(0.8 * means["clean"] + 0.2 * means["noisy"])
    again = examine(linear(), Pairs(images, labels), noisy=noisy.tolist(), n_points=12, **FAST)
    assert again.volumes.equals(found.volumes)
    few = examine(linear(), images, labels, noisy=torch.arange(40) < 2, n_points=12, **FAST).points
    assert few[few["size"] == 0].noisy.sum() == 2


def test_a_loss_of_regression_against_its_closed_form():
    images, _ = points()
    network = linear(n_out=2).double()
    targets = torch.rand(6, 2, dtype=torch.float64)

    def loss(y, t):
        return (y - t).square().sum(1)

    weight, bias = network[1].weight, network[1].bias
    residual = images.double().flatten(1) @ weight.T + bias - targets
    expected = 2 * residual @ weight
    found = loss_gradients(network, images.double(), targets, loss=loss)
    torch.testing.assert_close(found.flatten(1), expected.detach(), rtol=1e-10, atol=0)
    # The loss is quadratic: the difference of two gradients is its Hessian times the step.
    step = 0.1 * torch.randn(6, 2, 3, 8, 8, dtype=torch.float64)
    moved = images.double()[:, None] + step
    hessian = (2 * step.flatten(2) @ weight.T @ weight).square().sum((1, 2)).sqrt() / (4 * 0.01)
    curvature = tangent_hessian_norm(network, images.double(), moved, targets, 0.1, loss=loss)
    torch.testing.assert_close(curvature, hessian.detach(), rtol=1e-8, atol=0)

    table = examine(network, images, targets, loss=loss, **FAST).volumes
    has = {"loss", "jacobian_norm", "tangent_hessian_norm", "tangent_hessian_rms"}
    assert set(table.metric) == has | {"accuracy", "residual_norm", "sensitivity", "exact_fit"}
    assert table[~table.metric.isin(has)]["mean"].isna().all()
    assert table[table.metric.isin(has)]["mean"].notna().all()
    at_points = table[(table.metric == "loss") & (table["size"] == 0)]["mean"].item()
    assert at_points == pytest.approx(residual.square().sum(1).mean().item())


def test_crossentropy_as_a_loss_of_ones_own_is_the_default():
    images, labels = points()
    network, images = linear().double(), images.double()
    own = volume_metrics(network, images, labels, loss=lambda y, t: F.cross_entropy(y, t, reduction="none"), **FAST)
    default = volume_metrics(network, images, labels, **FAST)
    for metric in METRICS[:4]:  # of confident networks the default keeps more digits
        torch.testing.assert_close(getattr(own, metric), getattr(default, metric), rtol=1e-9, atol=0)
    assert all(getattr(own, metric).isnan().all() for metric in ("residual_norm", "sensitivity", "exact_fit"))


def test_a_network_from_safetensors(tmp_path):
    network = models.create("convnet", 3, 10, seed=4)
    files.write_tensors(tmp_path / "w.safetensors", network.state_dict(), {})
    loaded = models.ConvNet(3, 10)
    loaded.load_state_dict(files.read_tensors(tmp_path / "w.safetensors")[0])
    data = points(side=32)
    assert examine(loaded, data, **FAST).volumes.equals(examine(network, data, **FAST).volumes)


def test_a_network_of_torchvision_and_images_that_are_not_square():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(num_classes=4).train()
    found = examine(network, torch.rand(2, 3, 40, 32), torch.tensor([0, 3]), **FAST)
    assert (found.volumes[found.volumes.metric == "jacobian_norm"]["mean"] > 0).all()
    assert network.training and all(p.requires_grad and p.grad is None for p in network.parameters())


def test_several_networks_by_width_and_the_figures():
    images, labels = points()
    noisy = torch.tensor([True, False] * 3)
    networks = {width: models.create("convnet", width, 5, seed=3) for width in (2, 3, 4)}
    found = examine(networks, F.interpolate(images, 32), labels, noisy=noisy, **FAST)
    assert sorted(found.volumes.width.unique()) == [2, 3, 4]
    alone = examine(networks[3], F.interpolate(images, 32), labels, noisy=noisy, **FAST).volumes
    of_two = found.volumes[found.volumes.width == 3]
    assert of_two.drop(columns="width").reset_index(drop=True).equals(alone.drop(columns="width"))
    drawn = found.figure()
    assert len(drawn.axes) == len(drawn.again(narrow=True).axes) == 8
    one = examine(linear(), images, labels, noisy=noisy, **FAST).figure()
    assert [panel.get_title() for panel in one.axes] == [
        "Accuracy",
        "Crossentropy",
        "Jacobian norm",
        "Hessian norm",
    ]
    assert len(one.axes[0].get_lines()) == 2 and one.again(narrow=True).get_figwidth() < one.get_figwidth()
    assert "Jacobian norm, noisy labels: " in one.get_label()  # what a notebook says of it
    regression = examine(linear(n_out=1), images, torch.rand(6, 1), loss=lambda y, t: (y - t).abs().sum(1), **FAST)
    assert [panel.get_title() for panel in regression.figure().axes] == ["Loss", "Jacobian norm", "Hessian norm"]


def test_strengths_follow_the_size_of_the_images():
    assert scaled_strengths(32) == (5, 10, 15, 20, 22, 25)
    for side in (1, 2, 8, 28, 64, 224):
        strengths = scaled_strengths(side)
        assert strengths[0] >= 1 and list(strengths) == sorted(set(strengths)) and strengths[-1] <= max(side, 1)


class Behaviour(nn.Module):
    """A linear network that does something to its input or output."""

    def __init__(self, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.inner, self.before, self.after = linear(), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def without_gradients(x):
    return x.detach()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Behaviour(before=without_gradients), "does not depend on its input differentiably"),
        (Behaviour(after=lambda y: (y.argmax(1, keepdim=True) == torch.arange(5)).float()), "differentiably"),
        (Behaviour(after=lambda y: {"logits": y}), "must return logits, a tensor"),
        (Behaviour(after=lambda y: y[:, :, None]), "must return logits of shape"),
        (linear().half(), "needs float32 or wider"),
        (linear(16), r"cannot take images of shape \(3, 8, 8\)"),
        (nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()), "cannot take images of shape"),
        (linear(n_out=3), "Labels must lie in 0..2, the network's classes: one is 4"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), linear()), "depends on the others of its batch"),
        (lambda x: x, "must be a torch.nn.Module"),
    ],
)
def test_networks_that_cannot_be_measured(network, message):
    images, labels = points()
    with pytest.raises((DataError, ConfigError), match=message) as error:
        examine(network, images, labels, **FAST)
    assert "\n" not in str(error.value)


def test_networks_that_can():
    images, labels = points()
    expected = examine(linear(), images, labels, **FAST).volumes

    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, x):
            return self.inner(x.mul_(1.0))

    assert examine(InPlace(), images, labels, **FAST).volumes.equals(expected)
    no_parameters = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert (examine(no_parameters, images, labels % 3, **FAST).points.jacobian_norm > 0).all()
    frozen = linear()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert examine(frozen, images, labels, **FAST).volumes.equals(expected)


IMAGES, LABELS = points()


@pytest.mark.parametrize(
    ("data", "labels", "options", "message"),
    [
        (IMAGES, None, {}, "needs labels"),
        (IMAGES, LABELS[:3], {}, "give one for each"),
        (IMAGES.permute(0, 2, 3, 1).numpy(), LABELS, {}, "channels last"),
        (IMAGES[0, 0], 1, {}, r"must have shape \(N, C, H, W\)"),
        (IMAGES, LABELS - 1, {}, "must not be negative"),
        (IMAGES, LABELS.float(), {}, "must be 6 integers"),
        (2 * IMAGES - 1, LABELS, {}, "give them in \\[0, 1\\], before normalisation"),
        (255 * IMAGES, LABELS, {}, "before normalisation"),
        ((255 * IMAGES).long(), LABELS, {}, "must be uint8, or floating point"),
        (IMAGES * float("nan"), LABELS, {}, "must be finite"),
        (IMAGES[:0], LABELS[:0], {}, "no images"),
        (IMAGES, LABELS, {"noisy": [True]}, "noisy must be 6 booleans"),
        (IMAGES, LABELS, {"n_points": 0}, "n_points is 0"),
        (IMAGES, LABELS, {"strengths": (5, 2)}, "increase strictly"),
        (IMAGES, LABELS, {"delta": 0}, "delta is 0"),
        (IMAGES, LABELS, {"n_paths": 0}, "n_paths is 0"),
        (IMAGES, LABELS, {"path_kind": "spiral"}, "path_kind is 'spiral'"),
        (IMAGES, LABELS, {"loss": F.mse_loss}, "The loss cannot take outputs"),
        (IMAGES, LABELS, {"loss": F.cross_entropy}, "one number per sample"),
        (IMAGES, LABELS, {"loss": lambda y, t: 0.0}, "one number per sample"),
        (Pairs(IMAGES, LABELS), LABELS, {}, "brings its own labels"),
        (Pairs([*IMAGES[:5], IMAGES[5, :, :4]], LABELS), None, {}, "resize them to one size"),
        (Pairs(["a"] * 6, LABELS), None, {}, "must be tensors .C, H, W. or PIL images"),
        (list(IMAGES), None, {}, "must give pairs"),
        (3, None, {}, "not a int"),
        ("no/such/folder", None, {}, "is no folder"),
        (Stream(), None, {"noisy": [True] * 6}, "iterable"),
    ],
)
def test_data_that_cannot_be_measured(data, labels, options, message):
    with pytest.raises((DataError, ConfigError), match=message) as error:
        examine(linear(), data, labels, **{**FAST, **options})
    assert "\n" not in str(error.value)


def test_an_empty_or_damaged_folder(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        examine(linear(), tmp_path, **FAST)
    place, _ = folder(tmp_path)
    (place / "class0" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="0.png is damaged"):
        examine(linear(32), place, **FAST)


def test_random_answers_are_warned_of():
    images, labels = points()
    with pytest.warns(UserWarning, match="random augmentation"):
        examine(linear(), Pairs(images, labels, change=T.RandomHorizontalFlip(0.5)), **FAST)
    with pytest.warns(UserWarning, match="random augmentation"):
        examine(linear(), Pairs(images, labels, change=lambda x: (x + torch.rand(())).clamp(0, 1)), **FAST)
    with pytest.warns(UserWarning, match="another answer each time"):
        examine(Behaviour(after=lambda y: F.dropout(y, 0.5, training=True)), images, labels, **FAST)
    with pytest.warns(UserWarning, match="does not change with the images at all"):
        examine(Behaviour(after=lambda y: y * 0), images, labels, **FAST)
    with pytest.warns(UserWarning, match="shuffles without a seed"):
        examine(linear(), DataLoader(Pairs(images, labels), 2, shuffle=True, collate_fn=own_collate), **FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        examine(linear(), DataLoader(Pairs(images, labels), 2), **FAST)


def own_collate(items):
    return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])
