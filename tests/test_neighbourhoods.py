"""Paths and directions are made once per set of points, and kept."""

import logging

import pytest
import torch

from smooth_interpolation import files, locations
from smooth_interpolation.measure import anchors, paths, tangents
from smooth_interpolation.train.loop import Normalization

SETTINGS = {"path_kind": "svd", "strengths": [5, 20], "n_paths": 3, "n_tangents": 2, "seed": 4}


def images(n=5, seed=0):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def kept():
    return sorted((locations.cache() / "neighbourhoods").glob("*.safetensors"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(anchors, "GROUP", 2)


def test_anchors_are_the_image_and_then_its_paths():
    x = images().float() / 255
    near = anchors.make(x, **SETTINGS)
    expected = paths.svd_paths(x, SETTINGS["strengths"], 3)
    assert near.anchors.shape == (5, 1 + 3 * 2, 3, 32, 32) and near.n_steps == 2 and len(near) == 5
    assert torch.equal(near.along_paths(near.anchors), expected)
    assert torch.equal(near.jitters, tangents.draw_jitters(x, 7, 2, 4))
    normalize = Normalization((0.5, 0.5, 0.5), (0.2, 0.3, 0.4))
    torch.testing.assert_close(near.lengths(normalize), paths.segment_lengths(normalize(expected)).double())


def test_the_second_time_they_come_from_the_cache(monkeypatch):
    first = list(anchors.shared(images(), **SETTINGS))
    assert [part.start for part, _ in first] == [0, 2, 4] and len(kept()) == 3
    monkeypatch.setattr(anchors, "make", lambda *_, **__: pytest.fail("made again"))
    for (_, a), (_, b) in zip(first, anchors.shared(images(), **SETTINGS), strict=True):
        assert torch.equal(a.anchors, b.anchors) and torch.equal(a.jitters, b.jitters)


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"n_tangents": 3}, {"n_paths": 2}, {"strengths": [5, 21]}, {"path_kind": "shift"}]
)
def test_other_settings_or_images_are_other_files(change):
    list(anchors.shared(images(), **SETTINGS))
    list(anchors.shared(images(), **SETTINGS | change))
    assert len(kept()) == 6
    list(anchors.shared(images(seed=1), **SETTINGS))
    assert len(kept()) == 9


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_made_again(damage, caplog):
    [(_, before)] = anchors.shared(images(2), **SETTINGS)
    [path] = kept()
    if damage is None:
        files.write_tensors(path, {"anchors": before.anchors}, {})
    else:
        path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        [(_, after)] = anchors.shared(images(2), **SETTINGS)
    assert "made again" in caplog.text and torch.equal(after.anchors, before.anchors)
    assert torch.equal(files.read_tensors(path)[0]["anchors"], before.anchors)


def test_a_disk_with_little_room_is_left_alone(monkeypatch):
    monkeypatch.setattr(anchors, "_free", lambda directory: 10 * 4 * 7 * images().numel())
    assert len(list(anchors.shared(images(), **SETTINGS))) == 3 and not kept()
    monkeypatch.setattr(anchors, "_free", lambda directory: 10 * 4 * 7 * images().numel() + 10)
    assert len(list(anchors.shared(images(), **SETTINGS))) == 3 and len(kept()) == 3


def test_without_a_place_to_keep_them_they_are_made_each_time(monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_tensors", full)
    with caplog.at_level(logging.WARNING):
        [(_, near)] = anchors.shared(images(2), **SETTINGS)
    assert "No space left" in caplog.text and len(near) == 2
