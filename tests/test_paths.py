"""SVD and shift paths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.measure.paths import segment_lengths, shift_paths, svd_paths


def images(n=3, h=32, w=32, seed=0, dtype=torch.float32):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def svd_path_loop(image, strengths, n_paths):
    """Section 3.4, one channel and one anchor at a time."""
    channels, h, w = image.shape
    out = np.empty((n_paths, len(strengths) + 1, channels, h, w))
    for p in range(n_paths):
        out[p, 0] = image
        for j, k in enumerate(strengths):
            for c in range(channels):
                u, s, vt = np.linalg.svd(image[c], full_matrices=False)
                for i in range(len(s)):
                    if len(s) - k - p <= i < len(s) - p:
                        s[i] = 0
                out[p, j + 1, c] = (u * s) @ vt
    return out


@pytest.mark.parametrize(
    ("strengths", "n_paths"),
    [((5, 10, 15, 20, 22, 25), 8), ((5, 10, 15, 20, 22, 25), 4), ((1,), 1), ((3, 31), 2), ((30, 32, 40), 8)],
)
@pytest.mark.parametrize("shape", [(32, 32), (16, 24)])
def test_svd_paths_agree_with_a_loop(strengths, n_paths, shape):
    x = images(2, *shape)
    expected = np.stack([svd_path_loop(image.double().numpy(), strengths, n_paths) for image in x])
    found = svd_paths(x, strengths, n_paths)
    assert found.shape == (2, n_paths, len(strengths) + 1, 3, *shape) and found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-7)
    np.testing.assert_allclose(svd_paths(x.double(), strengths, n_paths).numpy(), expected, atol=1e-12)


def test_the_last_of_eight_paths_erases_the_leading_singular_value():
    x = images(1)
    leading = torch.linalg.matrix_norm(x.double(), ord=2)
    ends = svd_paths(x, n_paths=8)[:, :, -1].double()
    norms = torch.linalg.matrix_norm(ends, ord=2)
    torch.testing.assert_close(norms[:, :7], leading[:, None].expand(-1, 7, -1), rtol=1e-5, atol=0)
    assert (norms[:, 7] < 0.5 * leading).all()


@given(
    seed=st.integers(0, 50), n_paths=st.integers(1, 8), strengths=st.sets(st.integers(1, 34), min_size=1, max_size=6)
)
@settings(max_examples=25, deadline=None)
def test_erased_energy_grows_with_strength(seed, n_paths, strengths):
    x = images(2, seed=seed, dtype=torch.float64)
    paths = svd_paths(x, sorted(strengths), n_paths)
    energy = (paths - x[:, None, None]).flatten(3).square().sum(3)
    assert torch.equal(paths[:, :, 0], x[:, None].expand(-1, n_paths, -1, -1, -1))
    assert (energy.diff(dim=2) >= -1e-12).all()


def test_black_and_constant_images_are_finite():
    x = torch.cat([torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)])
    paths = svd_paths(x)
    assert torch.isfinite(paths).all() and torch.equal(paths[0], torch.zeros_like(paths[0]))


def test_shift_by_whole_pixels_is_a_roll_inside_the_border():
    x = images(2)
    paths = shift_paths(x, radii=(1, 2, 3), n_paths=4)
    assert paths.shape == (2, 4, 4, 3, 32, 32) and torch.equal(paths[:, 1, 0], x)
    for j, r in enumerate((1, 2, 3)):
        inside = slice(r, 32 - r)
        for p, (dx, dy) in enumerate([(r, 0), (0, r), (-r, 0), (0, -r)]):
            rolled = torch.roll(x, (dy, dx), (2, 3))
            torch.testing.assert_close(
                paths[:, p, j + 1, :, inside, inside], rolled[:, :, inside, inside], atol=2e-5, rtol=0
            )


def test_shift_of_any_direction_has_its_radius():
    # A plane a x + b y moves by exactly its slope times the displacement, which bilinear reading keeps.
    rows, columns = torch.meshgrid(torch.arange(32).double(), torch.arange(32).double(), indexing="ij")
    plane = (0.3 * columns + 0.1 * rows).expand(1, 3, 32, 32)
    paths = shift_paths(plane, radii=(2, 3), n_paths=8)
    for p in range(8):
        angle = torch.tensor(2 * torch.pi * p / 8, dtype=torch.float64)
        for j, r in enumerate((2, 3)):
            step = plane - paths[:, p, j + 1]
            expected = r * (0.3 * angle.cos() + 0.1 * angle.sin())
            torch.testing.assert_close(step[..., 5:27, 5:27], expected.expand(1, 3, 22, 22), atol=1e-9, rtol=0)


def test_segment_lengths():
    x = images(2)
    paths = svd_paths(x, (5, 10), 3)
    lengths = segment_lengths(paths)
    assert lengths.shape == (2, 3, 2)
    expected = np.linalg.norm((paths[1, 2, 2] - paths[1, 2, 1]).numpy().ravel())
    assert lengths[1, 2, 1].item() == pytest.approx(expected, rel=1e-6)


def test_bad_input_is_one_sentence():
    x = images(1)
    for kind, words, call in [
        (ConfigError, "increase", lambda: svd_paths(x, (5, 5))),
        (ConfigError, "positive", lambda: svd_paths(x, (0, 5))),
        (ConfigError, "at least 1", lambda: svd_paths(x, n_paths=0)),
        (DataError, "N, C, H, W", lambda: svd_paths(x[0])),
        (DataError, "divide by 255", lambda: svd_paths((x * 255).byte())),
        (DataError, "finite", lambda: svd_paths(x * float("nan"))),
    ]:
        with pytest.raises(kind, match=words):
            call()
