"""Why a claim does not hold: looks at the records beside the claims. They change no verdict."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from . import claims, config, locations, store, trends
from .evidence import Evidence, View
from .registry import MIN_WIDTHS

METRICS = ("jacobian_norm", "tangent_hessian_norm")


def evidences(scale: str) -> dict[str, Evidence]:
    """The experiments with enough records at a scale."""
    found = {}
    for experiment in claims.EXPERIMENTS:
        if locations.params_file(scale, experiment).is_file():
            evidence = Evidence.of(store.read_all(config.find(scale, experiment).runs()))
            if evidence.seeds and len(evidence.widths) >= MIN_WIDTHS:
                found[experiment] = evidence
    return found


def first_interpolating(evidence: Evidence) -> int | None:
    """The narrowest width at which every seed has zero training error, whatever wider ones have."""
    last = store.last_epoch(evidence.history, "train_error").groupby("width").value.max()
    return None if last.empty or last.min() > 0 else int(last.index[last == 0].min())


def peaks(scales: Iterable[str] = config.SCALES) -> pd.DataFrame:
    """Where the largest test error and Jacobian norm beyond the first descent are, beside two readings of the threshold.

    Percentages in brackets are the training error there.
    """
    rows = {}
    for scale in scales:
        for experiment, evidence in evidences(scale).items():
            view = evidence.view()
            rows[f"{scale}/{experiment}"] = {
                "threshold": _or_none(evidence.threshold),
                "first width with 0% training error": _or_none(first_interpolating(evidence)),
                "peak of the test error": _top(view, trends.peak(view.last_epoch("test_error"), trends.POINTS)),
                "... Jacobian norm at the points": _top(view, trends.log_peak(view.volume(METRICS[0]))),
                "... over the largest volume": _top(
                    view, trends.log_peak(view.volume(METRICS[0], size=view.sizes[-1]))
                ),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def by_seed(scale: str, experiment: str, metric: str, subset: str = "all") -> pd.DataFrame:
    """A metric of the training history at the last epoch, a row per width and a column per seed."""
    history = store.history_table(store.read_all(config.find(scale, experiment).runs()))
    last = store.last_epoch(history, metric, subset).pivot(index="width", columns="seed", values="value")
    last.columns = [f"seed {seed}" for seed in last.columns]
    last.index = [f"w = {width}" for width in last.index]
    return last.map(lambda value: "" if np.isnan(value) else f"{value:.1f}")


def over_epochs(scales: Iterable[str] = config.SCALES) -> pd.DataFrame:
    """Rank correlation of test error and sharpness over epochs, past the threshold: from the first epoch on, and from the
    epoch of the lowest early test error on, that is over rise and second descent; '–' where it does not rise. Means over
    widths."""
    rows = {}
    for scale in scales:
        for experiment, evidence in evidences(scale).items():
            if evidence.threshold is not None:
                view = evidence.view()
                rows[f"{scale}/{experiment}"] = {
                    f"{name}, {when}": _mean_correlation(view, metric, rise)
                    for metric, name in zip(METRICS, ("Jacobian norm", "Hessian norm"), strict=True)
                    for rise, when in ((False, "all epochs"), (True, "after the first descent"))
                }
    return pd.DataFrame.from_dict(rows, orient="index").map(lambda value: "–" if np.isnan(value) else f"{value:.2f}")


def by_first_width(scales: Iterable[str] = config.SCALES) -> pd.DataFrame:
    """The claims whose verdict is another one if the threshold is read as the first width with zero training error."""
    rows = []
    for scale in scales:
        for experiment, evidence in evidences(scale).items():
            first = first_interpolating(evidence)
            if first == evidence.threshold:
                continue
            other = Evidence(evidence.volumes, evidence.history)
            other.threshold = first
            for claim in claims.about(experiment):
                before, after = claim(evidence).state, claim(other).state
                if before != after:
                    rows.append((f"{scale}/{experiment}", claim.statement, before, after))
    columns = ["records", "claim", "verdict", "... with the first width that fits"]
    return pd.DataFrame(rows, columns=columns).set_index("records")


def _or_none(width: int | None) -> str:
    return "none" if width is None else f"w = {width}"


def _top(view: View, top: trends.Peak | None) -> str:
    return "none" if top is None else f"w = {top.at} ({view.last_epoch('train_error')[top.at]:.1f}%)"


def _mean_correlation(view: View, metric: str, after_first_descent: bool) -> float:
    found = []
    for width in view.widths:
        if width < view.threshold:
            continue
        error, sharpness = view.epochs("test_error", width).align(view.epochs(metric, width), join="inner")
        if after_first_descent:
            top = trends.peak(error, trends.POINTS)
            if top is None:  # no rise: nothing comes after the first descent
                continue
            start = error[error.index < top.at].idxmin()
            error, sharpness = error.loc[start:], sharpness.loc[start:]
        found.append(trends.rank_correlation(sharpness.to_numpy(), error.to_numpy()))
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")
