"""Every setting of an experiment, and where its value at `paper` scale comes from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from .. import config, locations
from ..config import Experiment

BOTH, TEXT, CODE, SIBLING, OURS = (
    "paper and code",
    "paper's text",
    "authors' code",
    "authors' other published settings",
    "ours",
)
MEANINGS = {
    BOTH: "the text gives it, and the authors' public code confirms it",
    TEXT: "the text gives it",
    CODE: "the text is silent; it is the default of the authors' public code, or in its README",
    SIBLING: "neither says; it is in the README of the repository of another paper by the same authors",
    OURS: "none of these gives it, or we depart from them",
}
ANY = "any"  # value of a field

# What a value of a field rests on: an origin belongs to a value, so a value that nobody has confirmed is ours.
ORIGINS: dict[str, dict[Any, tuple[str, str]]] = {
    "dataset": {ANY: (TEXT, "Section 4")},
    "n_classes": {ANY: (TEXT, "follows from the dataset")},
    "n_train": {ANY: (OURS, "the whole training set; the text is silent, the authors' code holds 1,000 images out")},
    "n_test": {ANY: (TEXT, "the test set")},
    "data_seed": {ANY: (OURS, "of the subsets, the noise, the measured points and the tangent directions")},
    "noise": {
        "symmetric": (CODE, "the text says 'noisy labels'; here any other class, with equal chance"),
        "none": (TEXT, "Section 4.2"),
        "asymmetric": (BOTH, "Section 4.5: within some classes alone"),
    },
    "noise_fraction": {
        0.0: (TEXT, "Section 4.2"),
        0.2: (BOTH, "of all labels"),
        0.8: (BOTH, "Section 4.5: of the labels within each corrupted class"),
    },
    "n_corrupted_classes": {0: (TEXT, "asymmetric noise alone has them"), 20: (TEXT, "of 100 (Section 4.5)")},
    "input_mean": {ANY: (OURS, "subtracted from the images; own: the mean of the training pixels")},
    "input_std": {
        (0.2023, 0.1994, 0.2010): (CODE, "what the images are divided by"),
        ANY: (OURS, "what the images are divided by; own: the standard deviation of the training pixels"),
    },
    "model": {"convnet": (BOTH, "stages of w, 2w, 4w, 8w channels"), "resnet18": (TEXT, "with batch normalisation")},
    "widths": {tuple(range(1, 65)): (TEXT, "Section 4")},
    "seeds": {(0, 1, 2): (TEXT, "the text gives their number (Figures 2 and 4)")},
    "optimizer": {"sgd": (TEXT, "Section 4"), "adam": (BOTH, "Section 4.4")},
    "learning_rate": {
        0.005: (SIBLING, "constant after the warm-up; the text says 'fixed'"),
        0.004: (CODE, "what 0.005 with 5 epochs of warm-up comes to there"),
        0.0001: (CODE, "of Adam"),
    },
    "momentum": {0.9: (BOTH, "of SGD")},
    "warmup_epochs": {
        5: (SIBLING, "the text says that there is a warm-up, and gives no length"),
        0: (OURS, "the text names a warm-up for SGD alone"),
    },
    "warmup_learning_rate": {0.001: (CODE, "where the linear warm-up starts")},
    "batch_size": {128: (CODE, "")},
    "epochs": {4000: (TEXT, "Section 4")},
    "augment": {
        False: (TEXT, "ConvNets: none"),
        True: (BOTH, "ResNets: shifts by up to 4 pixels and mirror images (Section 4.4)"),
    },
    "precision": {
        "tf32": (CODE, "of training on GPUs; measured in float32 or wider"),
        ANY: (OURS, "of training; measured in float32 or wider"),
    },
    "n_evaluations": {ANY: (OURS, "epochs in the history, evenly spaced on a logarithmic axis")},
    "n_last_evaluations": {ANY: (OURS, "epochs in the history from the last tenth of the training")},
    "weight_decay": {0.0: (TEXT, "none")},
    "label_smoothing": {ANY: (OURS, "the text has none")},
    "dropout": {0.0: (TEXT, "none")},
    "batch_norm": {False: (BOTH, "of ConvNets: none; ResNets always have it")},
    "schedule": {"constant": (TEXT, "after the warm-up")},
    "keep_epochs": {ANY: (OURS, "after which the weights are kept, besides the last")},
    "points_from": {"train": (TEXT, "training points with the labels trained on")},
    "path_kind": {"svd": (BOTH, "erased singular values (Section 3.4)")},
    "strengths": {(5, 10, 15, 20, 22, 25): (CODE, "singular values erased at each anchor")},
    "n_paths": {8: (CODE, "P of Equation 6")},
    "n_tangents": {4: (CODE, "M of Equation 5")},
    "delta": {0.1: (CODE, "of Equation 5")},
    "n_clean_points": {ANY: (OURS, "a random sample; the text averages over the training set")},
    "n_noisy_points": {ANY: (OURS, "likewise")},
}
# No field sets these: they are built into the code.
BUILT_IN: dict[str, tuple[str, str]] = {
    "ConvNets": ("3x3 convolutions with bias, max-pooling by 2 after stages 2, 3 and 4, then by 4, one linear layer", CODE),
    "... their initialisation": ("PyTorch's default", CODE),
    "ResNet18": ("3x3 stem without pooling; batch normalisation in the shortcuts, too", OURS),
    "... its initialisation": ("PyTorch's default", OURS),
    "symmetric noise": ("exactly the asked share of labels, rounded, each moved to another class", CODE),
    "classes of the asymmetric noise": ("chosen at random", TEXT),
    "tangent directions": ("weak colour changes", TEXT),
    "... their size": ("brightness, contrast and saturation within 1%, no hue", CODE),
    "... their draws": ("new ones at every anchor, not clipped to [0, 1]", OURS),
    "integration along a path": ("trapezoids between the anchors, in normalised space", CODE),
    "training error": ("of images without augmentation", OURS),
    "test error": ("mean over the last tenth of the epochs, never the best epoch; the authors' code has the last epoch", OURS),
}  # fmt: skip
PAPER = ("convnet-noise20", "convnet-cifar100", "resnet18-noise20", "convnet-asymmetric")
PLACES = ("experiment", "scale")  # fields that say which experiment it is, and set nothing


def fields() -> list[str]:
    """The fields of a params file: those of data and training first, then those of measuring."""
    measuring = config.Measurement.model_fields
    return sorted((name for name in config.FIELDS if name not in PLACES), key=lambda name: name in measuring)


def origin(field: str, value: Any) -> tuple[str, str]:
    """What a field's value rests on, and a note; 'ours' for a value of which nothing is known."""
    known = ORIGINS.get(field, {})
    return next((said for known_value, said in known.items() if known_value == value), known.get(ANY, (OURS, "")))


def origins() -> pd.DataFrame:
    """The values at `paper` scale: a row per field and origin, with a note."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for field in fields():
        for settings in (config.find("paper", name) for name in PAPER):
            if is_used(field, settings):
                value = getattr(settings, field)
                said = rows.setdefault((field, *origin(field, value)), [])
                if shown(field, value) not in said:
                    said.append(shown(field, value))
    table = [
        {"setting": field, "value": " or ".join(said), "from": where, "note": note}
        for (field, where, note), said in rows.items()
    ]
    return pd.DataFrame(table).set_index("setting")


def built_in() -> pd.DataFrame:
    """What no field sets, with its origin."""
    return pd.DataFrame(BUILT_IN, index=["value", "from"]).T


def table(experiment: str, scales: Sequence[str] = config.SCALES) -> pd.DataFrame:
    """A row per field of an experiment with its value at every scale that has the experiment; '-' if unused there."""
    found = {s: config.find(s, experiment) for s in scales if locations.params_file(s, experiment).is_file()}
    return pd.DataFrame(
        {
            scale: [shown(field, getattr(e, field)) if is_used(field, e) else "-" for field in fields()]
            for scale, e in found.items()
        },
        index=fields(),
    )


def common(experiments: Sequence[str] = PAPER) -> pd.DataFrame:
    """The fields on which all experiments that use them agree, at every scale."""
    tables = [table(name) for name in experiments]
    rows = {}
    for field in fields():
        values = [{t.loc[field, s] for t in tables if s in t} - {"-"} for s in config.SCALES]
        if all(len(found) <= 1 for found in values):
            rows[field] = [next(iter(found), "-") for found in values]
    return pd.DataFrame(rows, index=config.SCALES).T


def particular(experiment: str) -> pd.DataFrame:
    """`table` without the fields of `common`."""
    return table(experiment).drop(index=common().index)


def captioned(frame: pd.DataFrame, caption: str, index: bool = True, folded: bool = False) -> Any:
    """A table for a page, with a caption that assistive technology finds, too; perhaps folded, for a click to open."""
    from IPython.display import HTML

    with pd.option_context("display.max_colwidth", None):
        html = frame.to_html(border=0, index=index, index_names=False, justify="left", classes="captioned")
    if folded:
        return HTML(f"<details><summary>{escape(caption)}</summary>{html}</details>")
    head, rest = html.split(">", 1)
    return HTML(f"{head}>\n  <caption>{escape(caption)}</caption>{rest}")


def is_used(field: str, settings: Experiment) -> bool:
    """Whether an experiment with these settings looks at a field."""
    if field == "momentum":
        return settings.optimizer == "sgd"
    return field != "warmup_learning_rate" or settings.warmup_epochs > 0


def shown(field: str, value: Any) -> str:
    """A field's value as a reader sees it."""
    if value is None:
        return "own" if field.startswith("input_") else "all"
    if field == "widths" and isinstance(value, tuple):
        whole = value == tuple(range(value[0], value[-1] + 1))
        return f"{value[0]}-{value[-1]}, all" if whole else f"{len(value)} of {value[0]}-{value[-1]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        if not value:
            return "none"
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
