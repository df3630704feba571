"""Made-up tables in which the answer to every claim is known."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from smooth_interpolation.checks import SHARPNESS
from smooth_interpolation.evidence import Evidence

WIDTHS = np.array([1, 2, 4, 6, 8, 12, 16, 24])
THRESHOLD = 8
PAST = WIDTHS >= THRESHOLD
SIZES = (0, 1, 2, 3)
EPOCHS = (1, 3, 5, 9, 17)
NORMS = SHARPNESS[1:]
TEST_ERROR = np.array([70.0, 60, 55, 64, 62, 58, 52, 45])  # U-shape, peak just below the threshold, second descent
FALLS_AGAIN, STAYS = np.array([25.0, 2, 10, 6, 0]), np.array([25.0, -8, -6, -1, 0])  # over epochs, beside the last


def bump(at=THRESHOLD, height=3.0, floor=0.05):
    return floor + height * np.exp(-(np.log(WIDTHS / at) ** 2) / 0.3)


class World:
    """Arrays that any change may replace: (metric, subset, size) -> by width, (metric, subset) -> by width and epoch."""

    def __init__(self):
        self.volumes, self.history = {}, {}
        accuracy = {"all": (0.3, 1.0), "clean": (0.5, 1.0), "noisy": (0.05, 0.98)}
        for subset, factor in (("all", 1.2), ("clean", 1.0), ("noisy", 2.0)):
            for size in SIZES:
                self.volumes["accuracy", subset, size] = np.linspace(*accuracy[subset], len(WIDTHS)) - 0.01 * size
                for metric in SHARPNESS:
                    self.volumes[metric, subset, size] = factor * (1 + size) * bump()
        self.over_epochs("train_error", np.where(PAST, 0, 50 - 5 * WIDTHS), [10, 10, 10, 10, 0], [10, 10, 10, 10, 0])
        self.over_epochs("test_error", TEST_ERROR, FALLS_AGAIN, STAYS)
        self.group("other_classes", TEST_ERROR)
        self.group("corrupted_classes", np.linspace(90, 97, len(WIDTHS)))
        for metric in ("train_crossentropy", *NORMS):
            self.over_epochs(metric, 0, [0.5, 0.2, 3, 1, 0.05], [2, 1, 1.2, 1.5, 1.5])

    def over_epochs(self, metric, last, past, narrow):
        """Values by width at the last epoch, and what is added to them over the epochs on each side of the threshold."""
        by_epoch = np.where(PAST[:, None], np.array(past), np.array(narrow))
        self.history[metric, "all"] = np.broadcast_to(last, len(WIDTHS))[:, None] + by_epoch

    def group(self, subset, last):
        self.history["test_error_by_group", subset] = np.repeat(np.array(last)[:, None], len(EPOCHS), axis=1)

    def error(self, values):
        self.over_epochs("test_error", np.array(values), FALLS_AGAIN, STAYS)

    def set(self, metrics, subsets, sizes, values):
        """Values by width, or a function of what is there."""
        for key in self.volumes:
            if key[0] in metrics and key[1] in subsets and key[2] in sizes:
                self.volumes[key] = values(self.volumes[key]) if callable(values) else np.array(values)

    @functools.cache  # noqa: B019 (worlds live as long as the tests)
    def evidence(self, *seeds):
        return together({seed: self for seed in seeds or (0, 1, 2)})


def together(worlds):
    """The tables of some worlds, each for one seed."""
    volumes = [
        (width, seed, size, 0, subset, metric, value, 0.0)
        for seed, world in worlds.items()
        for (metric, subset, size), values in world.volumes.items()
        for width, value in zip(WIDTHS, values, strict=True)
    ]
    history = [
        (width, seed, epoch, subset, metric, value)
        for seed, world in worlds.items()
        for (metric, subset), values in world.history.items()
        for width, curve in zip(WIDTHS, values, strict=True)
        for epoch, value in zip(EPOCHS, curve, strict=True)
    ]
    return Evidence(
        pd.DataFrame(volumes, columns=["width", "seed", "size", "strength", "subset", "metric", "mean", "std"]),
        pd.DataFrame(history, columns=["width", "seed", "epoch", "subset", "metric", "value"]),
    )


@functools.cache
def made(change):
    world = World()
    change(world)
    return world


ALL, BOTH, EVERY, POINT, VOLUMES = ("all",), ("clean", "noisy"), ("all", "clean", "noisy"), SIZES[:1], SIZES[1:]
RISING = np.linspace(0.1, 3, len(WIDTHS))
FALLING_ERROR = np.linspace(70, 40, len(WIDTHS))


def nothing(world):
    """The base world supports the claim."""


def error(values):
    return lambda world: world.error(values)


def curves(metrics, subsets, sizes, values):
    return lambda world: world.set((metrics,) if isinstance(metrics, str) else metrics, subsets, sizes, values)


def history(metric, past, narrow=(2, 1, 1.2, 1.5, 1.5), last=0):
    return lambda world: world.over_epochs(metric, last, past, narrow)


def grown_then_fallen_accuracy(world):
    world.over_epochs("train_error", np.where(PAST, 0, 10 + WIDTHS), [10, 10, 10, 10, 0], [10, 10, 10, 10, 0])


def error_like_sharpness(world):
    world.error(40 + 10 * world.volumes["jacobian_norm", "all", SIZES[-1]])


def error_unlike_sharpness(world):
    world.error(80 - 5 * world.volumes["jacobian_norm", "all", SIZES[-1]])


def group(subset, values):
    return lambda world: world.group(subset, values)


def sharper_largest_volume(world):
    world.set(NORMS, EVERY, SIZES[-1:], lambda values: 2 * values)
    world.set(("accuracy",), EVERY, SIZES[-1:], lambda values: values - 0.05)


def milder_largest_volume(world):
    world.set(NORMS, EVERY, SIZES[-1:], lambda values: 0.7 * values)


def shrinking(world):
    for size in SIZES:
        world.set(SHARPNESS, BOTH, (size,), lambda values, size=size: values / (1 + size) ** 2)


FALLING_ACCURACY = curves("accuracy", ALL, VOLUMES, np.linspace(0.9, 0.3, len(WIDTHS)))
MONOTONE_ERROR_IN_TIME = history("test_error", [25, 20, 10, 5, 0], STAYS, TEST_ERROR)
RISING_IN_TIME = [0.1, 0.2, 0.5, 1, 2]
BACKWARDS_IN_TIME = [0.1, 3, 0.2, 0.5, 4]  # low where the test error is high

# name of a claim: what supports it, what contradicts it, as changes of the base world
CASES = {
    "test-error-u-shape": (nothing, error(FALLING_ERROR)),
    "test-error-peak": (nothing, error(FALLING_ERROR)),
    "test-error-second-descent": (nothing, error(FALLING_ERROR[::-1])),
    "double-descent-without-noise": (nothing, error([55, 64, 52, 50, 48, 46, 45, 44])),  # a peak, far from the threshold
    "training-accuracy-grows": (nothing, grown_then_fallen_accuracy),
    "volume-accuracy-grows": (nothing, FALLING_ACCURACY),
    "crossentropy-peak-at-points": (nothing, curves("crossentropy", ALL, POINT, RISING[::-1])),
    "crossentropy-peak-over-volumes": (nothing, curves("crossentropy", ALL, VOLUMES, RISING)),
    "jacobian-peak-at-points": (nothing, curves("jacobian_norm", ALL, POINT, RISING)),
    "jacobian-peak-over-volumes": (nothing, curves("jacobian_norm", ALL, VOLUMES, bump(at=2))),
    "hessian-peak-at-points": (nothing, curves("tangent_hessian_norm", ALL, POINT, bump(at=2))),
    "hessian-peak-over-volumes": (nothing, curves("tangent_hessian_norm", ALL, VOLUMES, RISING)),
    "points-become-stationary": (nothing, curves("jacobian_norm", ALL, POINT, RISING)),
    "small-networks-fit-clean-points": (nothing, curves("accuracy", ("noisy",), POINT, lambda values: values + 0.5)),
    "large-networks-predict-noisy-labels": (nothing, curves("accuracy", ("noisy",), SIZES[-1:], lambda values: values / 3)),
    "point-losses-vanish": (nothing, curves("crossentropy", ("noisy",), POINT, RISING)),
    "sharp-around-clean-and-noisy": (nothing, curves(SHARPNESS, BOTH, SIZES, RISING)),
    "sharpness-grows-with-volume": (nothing, shrinking),
    "noisy-peaks-are-higher": (nothing, curves(SHARPNESS, ("noisy",), SIZES, lambda values: values / 4)),
    "crossentropy-peak-without-noise": (nothing, curves("crossentropy", ALL, VOLUMES, RISING)),
    "jacobian-peak-without-noise": (nothing, curves("jacobian_norm", ALL, SIZES, RISING)),
    "hessian-peak-without-noise": (nothing, curves("tangent_hessian_norm", ALL, SIZES, bump(at=2))),
    "volume-accuracy-grows-without-noise": (nothing, FALLING_ACCURACY),
    "large-networks-smooth-without-noise": (nothing, FALLING_ACCURACY),
    "epochwise-test-error": (nothing, MONOTONE_ERROR_IN_TIME),
    "epochwise-crossentropy": (nothing, history("train_crossentropy", RISING_IN_TIME[::-1])),
    "epochwise-jacobian": (nothing, history("jacobian_norm", RISING_IN_TIME)),
    "epochwise-hessian": (nothing, history("tangent_hessian_norm", RISING_IN_TIME)),
    "narrow-networks-stay": (nothing, history("test_error", FALLS_AGAIN, FALLS_AGAIN, TEST_ERROR)),
    "narrow-networks-keep-their-loss": (nothing, history("train_crossentropy", RISING_IN_TIME, [2, 1, 0.5, 0.3, 0.2])),
    "narrow-networks-stay-sharp": (nothing, history("jacobian_norm", RISING_IN_TIME, [2, 1, 1.5, 0.3, 0.2])),
    "resnet-epochwise-test-error": (nothing, MONOTONE_ERROR_IN_TIME),
    "resnet-epochwise-crossentropy": (nothing, history("train_crossentropy", RISING_IN_TIME[::-1])),
    "resnet-epochwise-jacobian": (nothing, history("jacobian_norm", RISING_IN_TIME)),
    "resnet-epochwise-hessian": (nothing, history("tangent_hessian_norm", RISING_IN_TIME)),
    "resnet-double-descent": (nothing, error(FALLING_ERROR)),
    "resnet-peaks-early": (nothing, error([70, 60, 55, 58, 60, 66, 52, 45])),
    "resnet-training-accuracy-grows": (nothing, grown_then_fallen_accuracy),
    "resnet-volume-accuracy-grows": (nothing, FALLING_ACCURACY),
    "resnet-crossentropy-peak": (nothing, curves("crossentropy", ALL, VOLUMES, RISING)),
    "resnet-jacobian-peak": (nothing, curves("jacobian_norm", ALL, SIZES, bump(at=2))),
    "resnet-hessian-peak": (nothing, curves("tangent_hessian_norm", ALL, SIZES, RISING)),
    "resnet-largest-volume-is-sharper": (sharper_largest_volume, milder_largest_volume),
    "asymmetric-smooth-around-clean": (nothing, curves(SHARPNESS, ("clean",), SIZES, RISING)),
    "asymmetric-smooth-around-noisy": (nothing, curves(SHARPNESS, ("noisy",), SIZES, RISING)),
    "untouched-classes-double-descent": (nothing, group("other_classes", FALLING_ERROR)),
    "corrupted-classes-no-double-descent": (nothing, group("corrupted_classes", TEST_ERROR + 20)),
    "jacobian-follows-test-error-over-widths": (error_like_sharpness, error_unlike_sharpness),
    "hessian-follows-test-error-over-widths": (error_like_sharpness, error_unlike_sharpness),
    "jacobian-follows-test-error-over-epochs": (nothing, history("jacobian_norm", BACKWARDS_IN_TIME)),
    "hessian-follows-test-error-over-epochs": (nothing, history("tangent_hessian_norm", BACKWARDS_IN_TIME)),
}  # fmt: skip
