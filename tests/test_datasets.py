"""Sources of images: drawn, folders and zips, torchvision's archives."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from smooth_interpolation import datasets, dead_leaves, locations
from smooth_interpolation.errors import DataError

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
    expected = np.asarray(Image.open(folder / "train" / "dog" / "0001.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(first.train.images[5].numpy(), expected)
    assert first.train.labels.tolist() == [0] * 4 + [1] * 4
    with zipfile.ZipFile(data / "other.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    assert datasets.load("other").fingerprint == first.fingerprint


def test_images_are_decoded_once(data, monkeypatch):
    write_folder(data / "pets")
    first = datasets.load("pets")
    monkeypatch.setattr(datasets, "_read_folder", lambda place: pytest.fail("decoded again"))
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


def test_cifar_as_a_zip_of_images_in_the_data_directory(data):
    folder = write_folder(data.parent / "folder", suffix="jpg")
    with zipfile.ZipFile(data / "cifar10-small.zip", "w") as archive:
        for path in sorted(folder.rglob("*.jpg")):
            archive.write(path, path.relative_to(folder))
    assert datasets.load("cifar10").source == "image folder (JPEG)"


def test_cifar_from_torchvisions_archive(data, monkeypatch):
    """Torchvision's own files, with two images a batch; its checksums are those of the real ones, so they are skipped."""
    base = data / "cifar-10-batches-py"
    base.mkdir()
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        content = {"data": generator.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [0, 9]}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    found = datasets.load("cifar10")
    assert found.source == "torchvision archive" and len(found.train) == 10 and len(found.classes) == 10
    expected = np.frombuffer(pickle.loads((base / "data_batch_2").read_bytes())["data"], np.uint8).reshape(2, 3, 32, 32)
    np.testing.assert_array_equal(found.train.images[2:4].numpy(), expected)


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
