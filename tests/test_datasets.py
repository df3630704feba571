"""Sources of images: drawn, folders and zips, torchvision's archives."""

import functools
import hashlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from smooth_interpolation import config, locations
from smooth_interpolation.data import datasets, dead_leaves, preparation
from smooth_interpolation.errors import DataError
from smooth_interpolation.runs import record_format, single

CLASSES = ("cat", "dog")


def write_folder(root, suffix="png", size=(32, 32)):
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i:04d}.{suffix}")
    return root


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv(locations.DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(locations, "repository", lambda: tmp_path / "repository")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_folder_and_its_zip_are_the_same_data(data):
    folder = write_folder(data / "pets")
    first = datasets.load("pets")
    assert first.classes == CLASSES and first.source == "image folder (PNG)"
    assert first.train.images.shape == (8, 3, 32, 32) and first.train.images.dtype == torch.uint8
    for label, name in enumerate(CLASSES):
        pixels = [np.asarray(Image.open(path)).transpose(2, 0, 1) for path in (folder / "train" / name).iterdir()]
        found = first.train.images[first.train.labels == label].numpy()
        assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in pixels)
    with zipfile.ZipFile(data / "other.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    assert datasets.load("other").fingerprint == first.fingerprint


def test_images_are_decoded_once(data, monkeypatch):
    write_folder(data / "pets")
    first = datasets.load("pets")
    monkeypatch.setattr(datasets.image_folders, "read", lambda listing: pytest.fail("decoded again"))
    again = datasets.load("pets")
    assert again.fingerprint == first.fingerprint and torch.equal(again.test.images, first.test.images)
    assert again.classes == first.classes


def test_a_damaged_cache_is_made_again(data, caplog):
    write_folder(data / "pets")
    first = datasets.load("pets")
    (cached,) = (locations.cache() / "datasets").glob("pets-*.safetensors")
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    assert datasets.load("pets").fingerprint == first.fingerprint and "damaged" in caplog.text
    cached.write_bytes(content[:50])
    assert datasets.load("pets").fingerprint == first.fingerprint


def test_a_changed_folder_is_read_again(data):
    write_folder(data / "pets")
    first = datasets.load("pets")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(data / "pets" / "train" / "cat" / "new.png")
    again = datasets.load("pets")
    assert len(again.train) == 9 and again.fingerprint != first.fingerprint


def made_up(name):
    """Classes in no order, and of each split images (N, 32, 32, 3) and labels; the first image is there four times."""
    generator = np.random.default_rng(0)
    n_classes, per_class = {"cifar10": (10, (10, 2)), "cifar100": (100, (2, 1))}[name]
    classes = [f"thing_{i}" for i in generator.permutation(n_classes)]
    splits = {}
    for split, count in zip(("train", "test"), per_class, strict=True):
        labels = generator.permutation(np.arange(n_classes * count) % n_classes)
        images = generator.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        images[np.flatnonzero(labels == labels[0])] = images[np.flatnonzero(labels != labels[0])[:2]] = images[0]
        splits[split] = images, labels
    return classes, splits


def as_archive(root, name, classes, splits):
    """The files of torchvision's archive."""
    base, kind = root / datasets.CIFAR[name][0], getattr(torchvision.datasets, name.upper())
    base.mkdir()
    for split, parts in (("train", kind.train_list), ("test", kind.test_list)):
        images, labels = (np.array_split(values, len(parts)) for values in splits[split])
        for (part, _), pixels, numbers in zip(parts, images, labels, strict=True):
            content = {
                "data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1),
                "labels" if name == "cifar10" else "fine_labels": numbers.tolist(),
            }
            (base / part).write_bytes(pickle.dumps(content))
    (base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: classes}))


def as_folder(root, name, classes, splits, suffix="png", **options):
    order = np.random.default_rng(len(suffix) + len(options))
    for split, (images, labels) in splits.items():
        for i, pixels, label in zip(order.permutation(len(labels)), images, labels, strict=True):
            directory = root / name / split / classes[label]
            directory.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(directory / f"{i:04}.{suffix}", **options)


def as_zip(root, name, classes, splits):
    as_folder(root.parent, name, classes, splits, "webp", lossless=True)
    with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
        for path in (root.parent / name).rglob("*.webp"):
            archive.write(path, path.relative_to(root.parent / name))


FORMS = {
    "torchvision archive": as_archive,
    "image folder (PNG)": as_folder,
    "image folder (BMP)": functools.partial(as_folder, suffix="bmp"),
    "zip of images (WEBP)": as_zip,
}


@pytest.fixture
def in_every_form(tmp_path, monkeypatch):
    """Loads a dataset, and calls `use` beside it, once for every form that the same images can have."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)  # of the real images

    def load(name, use):
        for i, (source, make) in enumerate(FORMS.items()):
            root = tmp_path / str(i) / "data"
            root.mkdir(parents=True)
            make(root, name, *made_up(name))
            monkeypatch.setattr(locations, "data_directories", lambda root=root: [root])
            monkeypatch.setenv(locations.CACHE_VARIABLE, str(root.parent))
            data = datasets.load(name)
            assert data.source == source
            yield data, use()

    return load


FEW = {"n_test": 10, "epochs": 2, "n_clean_points": 3, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cifar10", {"n_train": 60}),
        ("cifar10", {"n_train": 60, "noise": "asymmetric", "n_corrupted_classes": 2, "noise_fraction": 0.5}),
        ("cifar100", {"n_train": 120, "n_classes": 100, "dataset": "cifar100"}),
    ],
)
def test_the_same_images_are_the_same_data_whatever_they_came_in(name, changes, in_every_form):
    settings = config.find("laptop", "convnet-noise20", {**FEW, "n_noisy_points": 4, **changes})
    loaded = list(in_every_form(name, lambda: preparation.prepare(settings)))
    classes, splits = made_up(name)
    (first, prepared), others = loaded[0], loaded[1:]
    assert len(others) == 3 and first.classes == tuple(sorted(classes))
    images, labels = splits["train"]
    expected = sorted(
        (classes[i], pixels.transpose(2, 0, 1).tobytes()) for i, pixels in zip(labels, images, strict=True)
    )
    found = zip(first.train.labels, first.train.images.numpy(), strict=True)
    assert sorted((first.classes[i], pixels.tobytes()) for i, pixels in found) == expected
    for data, other in others:
        assert data.classes == first.classes and data.fingerprint == first.fingerprint
        for split in ("train", "test"):
            assert torch.equal(getattr(data, split).images, getattr(first, split).images)
            assert torch.equal(getattr(data, split).labels, getattr(first, split).labels)
            assert torch.equal(getattr(other, split).images, getattr(prepared, split).images)
            assert torch.equal(getattr(other, split).labels, getattr(prepared, split).labels)
        assert torch.equal(other.corrupted, prepared.corrupted) and torch.equal(other.points, prepared.points)
        assert {**other.description(), "source": ""} == {**prepared.description(), "source": ""}


def test_the_same_images_give_the_same_record_whatever_they_came_in(in_every_form):
    experiment = config.find(
        "laptop", "convnet-noise20", {**FEW, "n_train": 60, "n_noisy_points": 4, "precision": "fp32"}
    )
    records = [record for _, record in in_every_form("cifar10", lambda: single.run(experiment.run(2, 0), device="cpu"))]
    assert {record["data"].pop("source") for record in records} == set(FORMS)
    assert len({record_format.checksum({**record, "provenance": {}}) for record in records}) == 1


@pytest.mark.parametrize("noise", ["symmetric", "none"])
def test_irreducible_errors_are_those_of_the_best_function_of_the_image(noise, in_every_form):
    changes = {"noise": "none", "noise_fraction": 0.0} if noise == "none" else {}
    changes["n_noisy_points"] = 0 if changes else 4
    settings = config.find("laptop", "convnet-noise20", {**FEW, **changes, "n_train": 100})
    _, prepared = next(in_every_form("cifar10", lambda: preparation.prepare(settings)))
    labels_of: dict = {}
    for image, label in zip(prepared.train.images.tolist(), prepared.train.labels.tolist(), strict=True):
        labels_of.setdefault(str(image), []).append(label)
    least = sum(min(sum(label != guess for label in labels) for guess in range(10)) for labels in labels_of.values())
    assert prepared.irreducible_errors == prepared.description()["irreducible_errors"] == least > 0


def test_the_order_is_of_pixels_and_labels_alone():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50, 3, 4, 4), generator=generator, dtype=torch.uint8)
    split = datasets.Split(images, torch.arange(50) % 5)
    _, (first,) = datasets.canonical(tuple("abcde"), split)
    _, (again,) = datasets.canonical(tuple("abcde"), split[torch.randperm(50, generator=generator)])
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    digests = [
        hashlib.sha256(struct.pack("<q", label) + bytes(pixels.flatten().tolist())).digest()
        for pixels, label in zip(first.images, first.labels.tolist(), strict=True)
    ]
    assert digests == sorted(digests) and not torch.equal(first.images, images)
    classes, (renamed,) = datasets.canonical(tuple("edcba"), datasets.Split(images, 4 - split.labels))
    assert classes == tuple("abcde") and torch.equal(renamed.labels, first.labels)


def test_an_order_of_before_is_not_taken_from_the_cache(data, monkeypatch):
    write_folder(data / "pets")
    with monkeypatch.context() as before:
        before.setattr(datasets, "VERSION", datasets.VERSION - 1)
        before.setattr(datasets, "canonical", lambda classes, *splits: (classes, splits))
        unordered = datasets.load("pets").fingerprint
    assert datasets.load("pets").fingerprint != unordered


def test_missing_data_is_one_sentence_that_helps(data, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", no_network)
    for name in ("cifar10", "pets"):
        with pytest.raises(DataError) as caught:
            datasets.load(name)
        text = str(caught.value)
        assert "\n" not in text and str(data) in text and locations.DATA_VARIABLE in text and "-p scale demo" in text


def test_bad_images_are_named(data):
    root = write_folder(data / "pets")
    broken = root / "train" / "cat" / "0002.png"
    good = broken.read_bytes()
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match="train/cat/0002.png is damaged"):
        datasets.load("pets")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(broken)
    with pytest.raises(DataError, match="resize"):
        datasets.load("pets")
    broken.write_bytes(good)
    (root / "test" / "bird").mkdir()
    (root / "test" / "bird" / "0.png").write_bytes(good)
    with pytest.raises(DataError, match="'bird'"):
        datasets.load("pets")


def test_dead_leaves_are_the_same_bytes_everywhere():
    images, labels = dead_leaves.draw(300, 10, seed=0, split=0)
    found = datasets.fingerprint(torch.from_numpy(images), torch.from_numpy(labels))
    assert found == "a028fd77941856c17de0db84c767388673bf2988cf638a958f09207f6f6792e7"
    assert np.bincount(labels).tolist() == [30] * 10
    other, _ = dead_leaves.draw(300, 10, seed=0, split=1)
    assert not (other == images).all(axis=(1, 2, 3)).any()


def test_dead_leaves_have_the_edges_of_natural_images():
    images, _ = dead_leaves.draw(200, 10, seed=1, split=0)
    grey = images.astype(float).mean(1)
    steps = (grey[:, :, 1:] - grey[:, :, :-1]).ravel() / grey.std()
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    assert kurtosis > 6  # a Gaussian field has 3; occlusion makes most steps small and a few large


@pytest.mark.parametrize("n_classes", [10, 100])
def test_dead_leaves_classes_can_be_told_apart_but_not_by_colour_alone(n_classes):
    (x, y), (tx, ty) = (dead_leaves.draw(20 * n_classes, n_classes, seed=0, split=split) for split in (0, 1))
    means = np.stack([x[y == c].mean(axis=(0, 2, 3)) for c in range(n_classes)])
    nearest = ((tx.mean(axis=(2, 3))[:, None] - means) ** 2).sum(2).argmin(1)
    accuracy = (nearest == ty).mean()
    assert 1.5 / n_classes < accuracy < 0.8


def test_balanced_subsets():
    labels = torch.arange(10).repeat_interleave(50)
    chosen = datasets.balanced_subset(labels, 124, seed=0)
    counts = torch.bincount(labels[chosen])
    assert counts.sum() == 124 and counts.max() - counts.min() == 1 and len(chosen.unique()) == 124
    assert torch.equal(chosen, datasets.balanced_subset(labels, 124, seed=0))
    assert not torch.equal(chosen, datasets.balanced_subset(labels, 124, seed=1))
    assert torch.equal(datasets.balanced_subset(labels, None, seed=0), torch.arange(500))
    with pytest.raises(DataError, match="class"):
        datasets.balanced_subset(labels, 501, seed=0)
