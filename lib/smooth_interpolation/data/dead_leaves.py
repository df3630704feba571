"""A built-in classification problem: dead leaves images, drawn in seconds and needing no download.

Opaque shapes of random place, size and colour cover one another (Lee, Mumford & Huang, 2001), which gives images the
occlusions and the scale-free statistics of natural ones; Baradad et al. (2021) train networks on them. A class is a
shape family, a palette and a size law. All three overlap between classes, and each image also holds leaves of other
families, so that a network has to generalise and does so imperfectly.

The images are made of comparisons and exactly rounded operations (+, -, *, /, sqrt), so a seed gives the same bytes
on every machine.
"""

from __future__ import annotations

import numpy as np

VERSION = 1  # part of the cache's key: raise it when the images change
SIZE = 32
N_LEAVES = 40
SHAPES = ("disk", "square", "triangle", "bar", "ring")
R_MIN, R_MAX = 2.5, 14.0  # pixels
FOREIGN_SHARE = 0.55  # of leaves, drawn from all families alike
PALETTE_SPREAD, COLOUR_NOISE = 0.1, 0.22


def draw(n_images: int, n_classes: int, seed: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n_images, 3, 32, 32) uint8 and their labels (n_images,) int64, balanced and shuffled, of 10 to 100 classes.
    `split` is 0 for training, 1 for test; the classes are the same, the images are not.
    """
    classes = np.random.default_rng([seed, 2])
    palettes = 0.5 + PALETTE_SPREAD * (2 * classes.random((n_classes, 3)) - 1)
    shapes = (np.arange(n_classes) + classes.integers(5)) % len(SHAPES)
    laws = (np.arange(n_classes) // len(SHAPES)) % 2  # density of radii ~ r^-3 or r^-2

    generator = np.random.default_rng([seed, split])
    labels = generator.permutation(np.arange(n_images) % n_classes)
    images = np.empty((n_images, 3, SIZE, SIZE), dtype=np.uint8)
    for start in range(0, n_images, 256):  # a block's canvases stay in the processor's cache
        part = labels[start : start + 256]
        images[start : start + 256] = _draw_block(palettes[part], shapes[part], laws[part], generator)
    return images, labels.astype(np.int64)


def _draw_block(
    palettes: np.ndarray, shapes: np.ndarray, laws: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    n = len(shapes)
    canvas = np.empty((n, 3, SIZE, SIZE), dtype=np.float32)
    canvas[:] = palettes[:, :, None, None]
    rows = np.arange(SIZE, dtype=np.float32)[:, None]
    columns = np.arange(SIZE, dtype=np.float32)[None, :]
    for _ in range(N_LEAVES):
        foreign = generator.random(n) < FOREIGN_SHARE
        shape = np.where(foreign, generator.integers(len(SHAPES), size=n), shapes)
        radius = _radii(generator.random(n), laws)
        centre = generator.random((2, n)) * (SIZE + 8) - 4
        direction = 2 * generator.random((2, n)) - 1
        direction /= np.sqrt((direction**2).sum(0)) + 1e-12
        colour = palettes + COLOUR_NOISE * (generator.random((n, 3)) + generator.random((n, 3)) - 1)
        shade = 0.25 * (generator.random((n, 1)) - 0.5)

        c, r, d = (np.asarray(a, dtype=np.float32)[..., None, None] for a in (centre, radius, direction))
        dy, dx = rows - c[0], columns - c[1]
        u, v = (dx * d[0] + dy * d[1]) / r, (dy * d[0] - dx * d[1]) / r  # the leaf's own axes
        mask = _inside(shape, u, v)
        np.copyto(canvas, (colour + shade)[:, :, None, None].astype(np.float32), where=mask[:, None])
    grain = np.float32(0.06) * (generator.random(canvas.shape, dtype=np.float32) - np.float32(0.5))
    return (np.clip(canvas + grain, 0, 1) * 255 + 0.5).astype(np.uint8)


def _radii(uniform: np.ndarray, laws: np.ndarray) -> np.ndarray:
    # Inverse distribution functions of densities ~ r^-3 and r^-2 on [R_MIN, R_MAX].
    ratio = R_MIN / R_MAX
    steep = R_MIN / np.sqrt(1 - uniform * (1 - ratio**2))
    flat = R_MIN / (1 - uniform * (1 - ratio))
    return np.where(laws == 0, steep, flat)


def _inside(shape: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    square_norm = u * u + v * v
    kinds = shape[:, None, None]
    inside = square_norm < 1  # disk
    inside = np.where(kinds == 1, np.maximum(np.abs(u), np.abs(v)) < np.float32(0.9), inside)
    triangle = (v > np.float32(-0.6)) & (v + np.float32(1.75) * np.abs(u) < np.float32(1.1))
    inside = np.where(kinds == 2, triangle, inside)
    inside = np.where(kinds == 3, (np.abs(u) < np.float32(1.7)) & (np.abs(v) < np.float32(0.3)), inside)
    return np.where(kinds == 4, (square_norm < np.float32(1.3)) & (square_norm > np.float32(0.5)), inside)
