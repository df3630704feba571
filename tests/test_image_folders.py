"""Folders, zips and caches of images from anywhere: read whole, or refused in one sentence."""

import logging
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from reliability import hostile

from smooth_interpolation import files, locations
from smooth_interpolation.data import datasets, image_folders
from smooth_interpolation.errors import DataError


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    for variable in (locations.DATA_VARIABLE, locations.CACHE_VARIABLE):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(locations, "repository", lambda: tmp_path / "repository")
    return tmp_path


@pytest.mark.parametrize(("make", "words"), hostile.ARCHIVES.values(), ids=hostile.ARCHIVES.keys())
def test_a_hostile_archive_is_refused_in_one_sentence(make, words, data):
    place = make(data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            datasets.load("pets")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert words in str(caught.value) and str(place) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("make", hostile.ODD_BUT_SOUND.values(), ids=hostile.ODD_BUT_SOUND.keys())
def test_what_only_looks_odd_is_read(make, data, recwarn):
    make(data)
    found = datasets.load("pets")
    assert found.classes == ("cat", "dog") and found.train.images.shape[1:] == (3, 8, 8)
    assert len(found.train) >= 2 and not recwarn.list


@pytest.mark.parametrize("kind", ["ppm", "bmp", "png", "webp"])
def test_no_pixels_are_taken_for_marks_of_a_format(kind, data):
    """These are the bytes with which a JPEG begins a scan."""
    pixels = np.tile(np.array([0xFF, 0xDA], dtype=np.uint8), 384).reshape(16, 16, 3)
    Image.fromarray(pixels).save(data / f"a.{kind}", **({"lossless": True} if kind == "webp" else {}))
    assert np.array_equal(image_folders.read_image(data, None, f"a.{kind}"), pixels)


def test_too_many_pixels_are_refused_before_memory_is_taken(data, monkeypatch):
    hostile._zip()(data)
    monkeypatch.setattr(image_folders, "MAX_TOTAL", 2 * 8 * 8 * 3 - 1)
    with pytest.raises(DataError, match="2 images of 8 x 8 pixels take more than"):
        datasets.load("pets")


def test_the_zip_of_another_dataset_is_not_taken_for_this_one(data):
    hostile._zip()(data).rename(data / "cifar100.zip")
    assert datasets.find_images("cifar10") is None
    assert datasets.find_images("cifar100") == data / "cifar100.zip"


def test_folders_within_a_class_are_named(data, caplog):
    place = hostile._folder(lambda root: (root / "train/cat/deep").mkdir())(data)
    with caplog.at_level(logging.WARNING):
        assert len(datasets.load("pets").train) == 2
    assert f"{place}: left out are folders within a class (1, such as 'train/cat/deep')" in caplog.text


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_changed_archive_of_torchvision_is_refused_before_it_is_unpickled(data, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", lambda self: pytest.fail("fetched again"))
    base = data / "cifar-10-batches-py"
    base.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (base / name).write_bytes(pickle.dumps(Trap(data / "run")))
    with pytest.raises(DataError, match=r"data_batch_1 is damaged or was changed.*Remove it"):
        datasets.load("cifar10")
    (base / "data_batch_1").unlink()
    (data / "cifar-10-python.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is damaged or was changed"):
        datasets.load("cifar10")
    assert not (data / "run").exists()


@pytest.mark.parametrize("content", hostile.TENSORS.values(), ids=hostile.TENSORS.keys())
def test_a_damaged_cache_is_made_again(content, data, caplog):
    hostile._zip()(data)
    first = datasets.load("pets")
    (cached,) = (data / "datasets").glob("*.safetensors")
    cached.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        files.read_tensors(cached)
    assert "\n" not in str(caught.value)
    again = datasets.load("pets")
    assert again.fingerprint == first.fingerprint and "decoding the images again" in caplog.text


@pytest.mark.parametrize("change", ["dtype", "shape", "labels", "none", "half"])
def test_a_cache_that_holds_something_else_is_made_again(change, data, caplog):
    hostile._zip()(data)
    first = datasets.load("pets")
    (cached,) = (data / "datasets").glob("*.safetensors")
    tensors, metadata = files.read_tensors(cached)
    replaced = {
        "dtype": {"train_images": tensors["train_images"].bfloat16()},
        "shape": {"train_images": tensors["train_images"].flatten()},
        "labels": {"train_labels": tensors["train_labels"] + 7},
        "none": {"train_images": tensors["train_images"][:0], "train_labels": tensors["train_labels"][:0]},
        "half": {"train_labels": tensors["train_labels"][:1]},
    }[change]
    files.write_tensors(cached, {name: t.contiguous() for name, t in (tensors | replaced).items()}, metadata)
    assert datasets.load("pets").fingerprint == first.fingerprint and "damaged" in caplog.text


def test_a_bit_of_a_cache_that_flips_is_seen(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.ones(2, dtype=torch.bfloat16)}
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, tensors, {"who": "me"})
    found, text = files.read_tensors(path)
    assert text == {"who": "me"} and all(torch.equal(found[name], tensors[name]) for name in tensors)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        files.read_tensors(path)
    with pytest.raises(ValueError, match="no file of at most 0 MiB"):
        files.read_tensors(path, 10)
    with pytest.raises(ValueError, match="no file"):
        files.read_tensors(tmp_path)


def test_pixels_are_those_of_the_image(data):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data / "a.png")
    np.testing.assert_array_equal(image_folders.read_image(data, None, "a.png"), pixels)
