"""Every setting of an experiment with where its value at `paper` scale comes from."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from . import config, locations

TEXT = "paper's text"
READING = "authors' other published settings, our reading"
CHOICE = "our choice"

# A field, its origin, and what the text says or why we chose.
ORIGINS: dict[str, tuple[str, str]] = {
    "dataset": (TEXT, "CIFAR-10 and CIFAR-100 (Section 4)"),
    "n_classes": (TEXT, "follows from the dataset"),
    "n_train": (TEXT, "the whole training set"),
    "n_test": (TEXT, "the whole test set"),
    "data_seed": (CHOICE, "of the subsets, the noise, the measured points and the tangent directions"),
    "noise": (TEXT, "symmetric (Section 4), none (4.2), asymmetric (4.5)"),
    "noise_fraction": (TEXT, "20% of all labels; 80% within each corrupted class (4.5)"),
    "n_corrupted_classes": (TEXT, "20 of 100, randomly selected (4.5)"),
    "input_mean": (CHOICE, "of each channel in [0, 1], subtracted; the text does not say how images are normalised"),
    "input_std": (CHOICE, "of each channel, divided by; likewise"),
    "model": (TEXT, "ConvNets of four stages of widths w, 2w, 4w, 8w; ResNet18 with batch normalisation"),
    "widths": (TEXT, "w = 1, ..., 64"),
    "seeds": (TEXT, "three seeds (Figures 2 and 4); their values are ours"),
    "optimizer": (TEXT, "SGD; Adam for ResNets (4.4)"),
    "learning_rate": (READING, "the text says fixed, and gives no value"),
    "momentum": (TEXT, "0.9 (SGD only)"),
    "warmup_epochs": (READING, "the text says that there is a warm-up, and gives no length"),
    "warmup_learning_rate": (READING, "where the linear warm-up starts"),
    "batch_size": (READING, "not in the text"),
    "epochs": (TEXT, "4,000"),
    "augment": (TEXT, "none; for ResNets shifts by 4 pixels and mirror images (4.4)"),
    "precision": (CHOICE, "of training; every measurement is in float32 or wider"),
    "n_evaluations": (CHOICE, "epochs at which the history is written, evenly spaced on a logarithmic axis"),
    "n_last_evaluations": (CHOICE, "as many of the last tenth of the epochs: at a constant rate one is a snapshot"),
    "path_kind": (TEXT, "erased singular values (3.4)"),
    "strengths": (
        CHOICE,
        "singular values erased at each anchor; the text names up to 7 augmentations a path, no strengths",
    ),
    "n_paths": (CHOICE, "P of Eq. 6; the text gives no value"),
    "n_tangents": (CHOICE, "M of Eq. 5; the text gives no value"),
    "delta": (CHOICE, "of Eq. 5; the text gives no value"),
    "n_clean_points": (TEXT, "the mean is over the whole training set; a stratified sample at the smaller scales"),
    "n_noisy_points": (TEXT, "likewise"),
}
# Nothing of this is a field: it is built into the code.
BUILT_IN: dict[str, tuple[str, str]] = {
    "learning rate after the warm-up": (TEXT, "constant"),
    "weight decay, dropout": (TEXT, "none (Section 4)"),
    "normalisation in ConvNets": (TEXT, "none (Section 4)"),
    "kernels, pooling, head of the ConvNets": (
        READING,
        "3x3 with bias; max-pooling by 2 after stages 2, 3 and 4, then by 4; one linear layer",
    ),
    "stem of ResNet18": (READING, "3x3, no pooling, as is usual for images of 32 x 32"),
    "initialisation": (CHOICE, "PyTorch's default"),
    "directions of the tangent Hessian": (TEXT, "weak colour changes (3.2)"),
    "... and their size": (CHOICE, "brightness, contrast and saturation within 1%, in random order, no hue"),
    "integration along a path": (CHOICE, "trapezoids between the anchors, in normalised space"),
    "reported test error": (CHOICE, "the last epoch's, never the best epoch's"),
}


def table(experiment: str, scales: Sequence[str] = config.SCALES) -> pd.DataFrame:
    """A row per field of an experiment with its value at every scale that has the experiment."""
    found = {s: config.find(s, experiment) for s in scales if locations.params_file(s, experiment).is_file()}
    rows = {
        field: {scale: _said(field, getattr(settings, field)) for scale, settings in found.items()} for field in ORIGINS
    }
    return pd.DataFrame(rows).T


def origins() -> pd.DataFrame:
    """A row per field: where its value at `paper` scale comes from, and a note."""
    return pd.DataFrame(ORIGINS, index=["origin", "note"]).T


def built_in() -> pd.DataFrame:
    """What no field sets, with its origin."""
    rows = {name: {"value": value, "origin": origin} for name, (origin, value) in BUILT_IN.items()}
    return pd.DataFrame(rows).T


def _said(field: str, value: object) -> str:
    if value is None:
        return "the training images'" if field in ("input_mean", "input_std") else "all"
    if field == "widths" and isinstance(value, tuple):
        whole = value == tuple(range(value[0], value[-1] + 1))
        return f"{value[0]}-{value[-1]}, all" if whole else f"{len(value)} of {value[0]}-{value[-1]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
