"""How many images there are to train and test on, and points to measure around, where that is known without the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings

CIFAR = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}  # training and test images, as many of each class


def check(settings: Settings) -> None:
    """Refuse settings that ask for more images or points than there are.

    Raises:
        ValueError: naming the field, what it asks for and what there is.
    """
    for field, split, there in zip(("n_train", "n_test"), ("training", "test"), _images(settings), strict=True):
        if there is not None and (wanted := getattr(settings, field) or 0) > there:
            raise ValueError(f"{field} {wanted:,}: {settings.dataset} has {there:,} {split} images, ask for fewer")
    n_train = settings.n_train or _images(settings)[0]
    if n_train is None:
        return
    least, most = corrupted(settings, n_train)
    for subset, there in (("clean", n_train - least), ("noisy", most)):
        if (wanted := getattr(settings, f"n_{subset}_points")) > there:
            raise ValueError(
                f"n_{subset}_points {wanted:,}: there are {there:,} {subset} training points, ask for fewer"
            )


def corrupted(settings: Settings, n_train: int) -> tuple[int, int]:
    """The least and the most labels that the noise can corrupt; they are equal where every class has as many images.

    Symmetric noise corrupts round(fraction * n_train). Asymmetric noise corrupts round(fraction * n) of each of its classes, where
    n is n_train / n_classes, rounded down for some classes and up for others; of the images of a folder it is unknown.
    """
    if settings.noise != "asymmetric":
        exactly = round(settings.noise_fraction * n_train) if settings.noise == "symmetric" else 0
        return exactly, exactly
    if settings.dataset not in (*CIFAR, "dead_leaves"):
        return 0, n_train
    n, n_larger = divmod(n_train, settings.n_classes)
    chosen = settings.n_corrupted_classes
    small, large = (round(settings.noise_fraction * size) for size in (n, n + 1))
    fewest, most = max(0, chosen - (settings.n_classes - n_larger)), min(chosen, n_larger)  # of the larger classes
    return chosen * small + fewest * (large - small), chosen * small + most * (large - small)


def _images(settings: Settings) -> tuple[int | None, int | None]:
    return CIFAR.get(settings.dataset, (None, None))
