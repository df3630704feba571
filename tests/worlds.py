"""Made-up tables in which the answer to every claim is known."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

import smooth_interpolation
from smooth_interpolation.claims import checks
from smooth_interpolation.claims.evidence import AT_POINTS, Evidence
from smooth_interpolation.runs import record_format

SHARPNESS = tuple(checks.SHARPNESS.values())
NORMS = SHARPNESS[1:]
WIDTHS = np.array([1, 2, 4, 6, 8, 12, 16, 24])
THRESHOLD = 8
PAST = WIDTHS >= THRESHOLD
SIZES = (0, 1, 2, 3)
EPOCHS = (1, 3, 10, 30, 100)
MOMENTS = tuple(range(91, 101))
IMAGES = {"all": 10_000, "corrupted_classes": 2_000, "other_classes": 8_000}
TEST_ERROR = np.array([70.0, 60, 55, 64, 62, 58, 52, 45])  # U-shape, peak just below the threshold, second descent
FALLS_AGAIN, STAYS = np.array([25.0, 2, 10, 6, 0]), np.array([25.0, -8, -6, -1, 0])  # over epochs, beside the last


def bump(at=THRESHOLD, height=3.0, floor=0.05, widths=WIDTHS):
    return floor + height * np.exp(-(np.log(widths / at) ** 2) / 0.3)


class World:
    """Arrays that any change may replace: (metric, subset, size) -> by width, (metric, subset) -> by width and epoch.

    `jumps` are added to the history: (metric, subset, width, moment) -> value; with any, the end of training has ten moments.
    """

    def __init__(self, widths=WIDTHS, threshold=THRESHOLD, error=None):
        self.widths, self.past = widths, widths >= threshold
        self.volumes, self.history, self.jumps, n = {}, {}, {}, len(widths)
        error = np.interp(widths, WIDTHS, TEST_ERROR) if error is None else error
        accuracy = {"all": (0.3, 1.0), "clean": (0.5, 1.0), "noisy": (0.05, 0.98)}
        for subset, factor in (("all", 1.2), ("clean", 1.0), ("noisy", 2.0)):
            for size in SIZES:
                self.volumes["accuracy", subset, size] = np.linspace(*accuracy[subset], n) - 0.01 * size
                for metric in SHARPNESS:
                    self.volumes[metric, subset, size] = factor * (1 + size) * bump(threshold, widths=widths)
        missed = np.where(self.past, 0, 60 - 50 * widths / threshold)
        self.over_epochs("train_error", missed, [10, 10, 10, 10, 0], [10, 10, 10, 10, 0])
        self.over_epochs("test_error", error, FALLS_AGAIN, STAYS)
        self.group("other_classes", error)
        self.group("corrupted_classes", np.linspace(90, 97, n))
        for metric in ("train_crossentropy", *NORMS):
            self.over_epochs(metric, 0, [0.5, 0.2, 3, 1, 0.05], [2, 1, 1.2, 1.5, 1.5])

    def over_epochs(self, metric, last, past, narrow):
        """Values by width at the last epoch, and what is added to them over the epochs on each side of the threshold."""
        by_epoch = np.where(self.past[:, None], np.array(past), np.array(narrow))
        self.history[metric, "all"] = np.broadcast_to(last, len(self.widths))[:, None] + by_epoch

    def group(self, subset, last):
        self.history["test_error_by_group", subset] = np.repeat(np.array(last)[:, None], len(EPOCHS), axis=1)

    def error(self, values):
        self.over_epochs("test_error", np.array(values), FALLS_AGAIN, STAYS)

    def set(self, metrics, subsets, sizes, values):
        """Values by width, or a function of what is there."""
        for key in self.volumes:
            if key[0] in metrics and key[1] in subsets and key[2] in sizes:
                self.volumes[key] = values(self.volumes[key]) if callable(values) else np.array(values)

    def courses(self):
        """Metric, subset, width, and the values over the epochs."""
        for (metric, subset), values in self.history.items():
            for width, curve in zip(self.widths, values, strict=True):
                course = dict(zip(EPOCHS, curve, strict=True))
                if self.jumps:
                    end = course[EPOCHS[-1]]
                    course |= {e: end + self.jumps.get((metric, subset, int(width), e), 0.0) for e in MOMENTS}
                yield metric, subset, int(width), course

    @functools.cache  # noqa: B019 (worlds live as long as the tests)
    def evidence(self, *seeds):
        return together({seed: self for seed in seeds or (0, 1, 2)})


def together(worlds, **options):
    """The evidence of some worlds, each for one seed."""
    volumes = [
        (width, seed, size, 0, subset, metric, value, 0.0)
        for seed, world in worlds.items()
        for (metric, subset, size), values in world.volumes.items()
        for width, value in zip(world.widths, values, strict=True)
    ]
    history = [
        (width, seed, epoch, subset, metric, value)
        for seed, world in worlds.items()
        for metric, subset, width, course in world.courses()
        for epoch, value in sorted(course.items())
    ]
    return Evidence(
        pd.DataFrame(volumes, columns=["width", "seed", "size", "strength", "subset", "metric", "mean", "std"]),
        pd.DataFrame(history, columns=["width", "seed", "epoch", "subset", "metric", "value"]),
        **{"images": IMAGES, **options},
    )


def records(world, seed=0, n_train=50_000, irreducible=0):
    """What the runs of a world would have written down, as far as claims read it."""
    data = {"n_train": n_train, "n_test": 10_000, "corrupted_classes": [0, 1], "irreducible_errors": irreducible}
    made_up = []
    for i, width in enumerate(world.widths):
        history = {}
        for metric, subset, at, course in world.courses():
            for epoch, value in course.items() if at == width else ():
                entry = history.setdefault(epoch, {"epoch": epoch})
                if metric == "test_error":
                    entry[metric] = float(value)
                else:
                    entry.setdefault(metric, {})[subset] = float(value)
        rows = [
            {"size": size, "strength": size, "subset": subset, "n_points": 100}
            | {
                metric: {
                    "mean": float(
                        world.volumes.get((metric, subset, size), world.volumes["accuracy", subset, size])[i]
                    ),
                    "std": 0.0,
                }
                for metric in record_format.VOLUME_METRICS
            }
            for subset in ("all", "clean", "noisy")
            for size in SIZES
        ]
        made_up.append(
            {"status": "complete", "config": {"width": int(width), "seed": seed, "n_classes": 10}, "data": data,
             "history": [history[epoch] for epoch in sorted(history)], "volumes": rows}
        )  # fmt: skip
    return made_up


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
FAR = bump(at=2)
CASES = {
    "test-error-u-shape": (nothing, error(FALLING_ERROR)),
    "test-error-peak": (nothing, error(FALLING_ERROR)),
    "test-error-peak-place": (nothing, error([55, 64, 52, 50, 48, 46, 45, 44])),
    "test-error-second-descent": (nothing, error(FALLING_ERROR[::-1])),
    "double-descent-without-noise": (nothing, error(FALLING_ERROR)),
    "double-descent-without-noise-place": (nothing, error([55, 64, 52, 50, 48, 46, 45, 44])),
    "training-accuracy-grows": (nothing, grown_then_fallen_accuracy),
    "volume-accuracy-grows": (nothing, FALLING_ACCURACY),
    "points-become-stationary": (nothing, curves("jacobian_norm", ALL, POINT, RISING)),
    "small-networks-fit-clean-points": (nothing, curves("accuracy", ("noisy",), POINT, lambda values: values + 0.5)),
    "large-networks-predict-clean-labels": (nothing, curves("accuracy", ("clean",), SIZES[-1:], lambda values: values / 3)),
    "large-networks-predict-noisy-labels": (nothing, curves("accuracy", ("noisy",), SIZES[-1:], lambda values: values / 3)),
    "point-losses-vanish": (nothing, curves("crossentropy", ("noisy",), POINT, RISING)),
    "loss-grows-with-volume": (nothing, shrinking),
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
    "resnet-largest-volume-jacobian": (sharper_largest_volume, milder_largest_volume),
    "resnet-largest-volume-hessian": (sharper_largest_volume, milder_largest_volume),
    "resnet-largest-volume-accuracy": (sharper_largest_volume, curves("accuracy", ALL, SIZES[-1:], lambda values: values + 0.05)),
    "untouched-classes-double-descent": (nothing, group("other_classes", FALLING_ERROR)),
    "corrupted-classes-no-double-descent": (nothing, group("corrupted_classes", TEST_ERROR + 20)),
    "jacobian-follows-test-error-over-widths": (error_like_sharpness, error_unlike_sharpness),
    "hessian-follows-test-error-over-widths": (error_like_sharpness, error_unlike_sharpness),
    "jacobian-follows-test-error-over-epochs": (nothing, history("jacobian_norm", BACKWARDS_IN_TIME)),
    "hessian-follows-test-error-over-epochs": (nothing, history("tangent_hessian_norm", BACKWARDS_IN_TIME)),
}  # fmt: skip
for _name, _metric in checks.SHARPNESS.items():
    CASES |= {
        f"{_name}-peak-at-points": (nothing, curves(_metric, ALL, POINT, RISING)),
        f"{_name}-peak-at-points-place": (nothing, curves(_metric, ALL, POINT, FAR)),
        f"{_name}-peak-over-volumes": (nothing, curves(_metric, ALL, VOLUMES, RISING)),
        f"{_name}-peak-over-volumes-place": (nothing, curves(_metric, ALL, VOLUMES, FAR)),
        f"{_name}-peak-clean-and-noisy": (nothing, curves(_metric, BOTH, SIZES, RISING)),
        f"{_name}-peak-clean-and-noisy-place": (nothing, curves(_metric, BOTH, SIZES, FAR)),
        f"{_name}-worse-around-noisy": (nothing, curves(_metric, ("noisy",), SIZES, lambda values: values / 4)),
        f"{_name}-peak-without-noise": (nothing, curves(_metric, ALL, SIZES, RISING)),
        f"{_name}-peak-without-noise-place": (nothing, curves(_metric, ALL, SIZES, FAR)),
        f"resnet-{_name}-peak": (nothing, curves(_metric, ALL, SIZES, RISING)),
        f"resnet-{_name}-peak-place": (nothing, curves(_metric, ALL, SIZES, FAR)),
        f"asymmetric-{_name}-smooth-clean": (nothing, curves(_metric, ("clean",), SIZES, RISING)),
        f"asymmetric-{_name}-smooth-noisy": (nothing, curves(_metric, ("noisy",), SIZES, RISING)),
    }


PAPER_WIDTHS = np.array([1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 24, 32, 48, 64])
OF_THE_PAPER = ("Figure 1c", "Figure 1d", "Figure 2", "Figure 3", "Figure 4", "Figure 5", "Figure 6", "Figure 7")


def drawn(**knots):
    """A curve over the paper's widths through values at some of them: w1=60, w15=55."""
    at = [int(name[1:]) for name in knots]
    return np.interp(np.log(PAPER_WIDTHS), np.log(at), list(knots.values()))


def of_the_paper(figure):
    """Three seeds of a family as the paper's sections and captions describe it: a threshold of 15, of ResNets of 18.

    With half a point and 2% from seed to seed, and from moment to moment.
    """
    resnets = figure == "Figure 6"
    threshold = 18 if resnets else 15
    # Section 4: underfitting, the optimal trade-off, overfitting up to a peak near the threshold, improved generalisation.
    # Section 4.4: with augmentation the peak occurs earlier than the threshold.
    error = drawn(w1=62, w3=44, w8=51, w64=30) if resnets else drawn(w1=65, w4=45, w15=56, w64=36)
    generator, seeds = np.random.default_rng(7), {}
    for seed in range(3):
        world = World(PAPER_WIDTHS, threshold, error)
        if resnets:  # the largest volume, 7 augmentations per path, is sharper and less accurate
            sharper_largest_volume(world)
        if figure in ("Figure 1d", "Figure 4"):  # CIFAR-100 has no wrong label
            world.volumes = {key: values for key, values in world.volumes.items() if key[1] == "all"}
        world.volumes = {
            key: values if key[0] == "accuracy" else values * np.exp(0.02 * generator.standard_normal(len(values)))
            for key, values in world.volumes.items()
        }
        for metric, where in AT_POINTS.items():  # what the history says of the points, with its course over the epochs
            for subset in ("all", "clean", "noisy"):
                if (metric, subset, 0) in world.volumes:
                    end = world.volumes[metric, subset, 0][:, None]
                    course = np.where(
                        world.past[:, None], np.add(end, [0.5, 0.2, 3, 1, 0]), end * [1.3, 0.7, 0.8, 1, 1]
                    )
                    world.history[where, subset] = course
        for metric, subset in world.history:
            for width in PAPER_WIDTHS if metric.startswith("test_error") else ():
                off = generator.normal(0, 0.5)  # this seed
                world.jumps |= {(metric, subset, int(width), e): off + generator.normal(0, 0.2) for e in MOMENTS}
        seeds[seed] = world
    return together(seeds)


def opened(asked):
    """The records that a page shows which was given these parameters."""
    asked = {"scale": None, "width": None, **asked}
    width, scale, experiment = asked.pop("width"), asked.pop("scale"), asked.pop("experiment")
    return smooth_interpolation.records(scale, experiment, width=width, **asked).with_width(width)
