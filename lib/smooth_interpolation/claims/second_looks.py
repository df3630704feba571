"""Looks at the records beside the claims, to see why one does not hold. They change no verdict."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from .. import claims, config, locations
from ..runs import record_format, store, tables
from . import checks, moments, trends
from .evidence import Evidence, View
from .words import number

Evidences = dict[str, Evidence]
METRICS = ("jacobian_norm", "tangent_hessian_norm")


def records_of(scale: str, experiment: str) -> tuple[list[record_format.Record], config.Experiment | None]:
    """The planned records of an experiment at a scale, and the plan; none where there is no params file."""
    if not locations.params_file(scale, experiment).is_file():
        return [], None
    plan = config.find(scale, experiment)
    return store.read_all(plan.runs()), plan


def evidences(scales: Iterable[str] = claims.SCALES) -> Evidences:
    """The experiments with enough records, as `scale/experiment`."""
    found = {}
    for scale, experiment in itertools.product(scales, claims.EXPERIMENTS):
        evidence = Evidence.of(*records_of(scale, experiment))
        if evidence.seeds and len(evidence.widths) >= trends.MIN_WIDTHS:
            found[f"{scale}/{experiment}"] = evidence
    return found


def measured() -> pd.DataFrame:
    """What was measured of the plan of every experiment."""
    rows = {}
    for scale, experiment in itertools.product(claims.SCALES, claims.EXPERIMENTS):
        records, plan = records_of(scale, experiment)
        if records and plan is not None:
            widths, seeds = ({record["config"][name] for record in records} for name in ("width", "seed"))
            rows[f"{scale}/{experiment}"] = {
                "training images": f"{records[0]['data']['n_train']:,}",
                "epochs": f"{records[0]['config']['epochs']:,}",
                "widths": f"{len(widths)} of {len(plan.widths)}, "
                + " to ".join(map(str, sorted({min(widths), max(widths)}))),
                "seeds": f"{len(seeds)} of {len(plan.seeds)}",
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def thresholds(evidences: Evidences) -> pd.DataFrame:
    """The threshold that decides, its range over the moments, and those with some training error allowed."""
    rows = {}
    for name, evidence in evidences.items():
        rows[name] = {
            "threshold": _or_none(evidence.threshold),
            "... over the moments": _range(evidence.thresholds),
            "errors that none avoids": f"{evidence.irreducible:.2g}%",
        } | {f"at {tolerance:g}%": _or_none(evidence.allowing(tolerance).threshold) for tolerance in trends.TOLERANCES}
    return pd.DataFrame.from_dict(rows, orient="index")


def peaks(evidences: Evidences) -> pd.DataFrame:
    """Where the peaks of the test error and the Jacobian norm are, with their range over the samples of seeds and moments.

    Percentages are the training error at the peak.
    """
    reads: dict[str, Callable[[View], trends.Peak | None]] = {
        "peak of the test error": lambda view: trends.peak(view.end(*checks.TEST_ERROR), trends.POINTS),
        "... Jacobian norm at the points": lambda view: trends.log_peak(view.sharpness(METRICS[0])),
        "... over the largest volume": lambda view: trends.log_peak(view.volume(METRICS[0], size=view.sizes[-1])),
    }
    rows = {}
    for name, evidence in evidences.items():
        rows[name] = {"threshold": _or_none(evidence.threshold)}
        for column, read in reads.items():
            top, sampled = read(evidence.view()), [found for _, found in evidence.samples(read)]
            rows[name][column] = _top(evidence.view(), top)
            if top is not None and sampled:
                rows[name][column] += f", {_range([one.at if one else None for one in sampled])}"
    return pd.DataFrame.from_dict(rows, orient="index")


def by_seed(scale: str, experiment: str, metric: str, subset: str = "all") -> pd.DataFrame:
    """A metric of the training history at the end of training, a row per width and a column per seed: mean, and range over moments."""
    table = moments.at_end(tables.history_table(records_of(scale, experiment)[0]))
    table = table[(table.metric == metric) & (table.subset == subset)]
    if table.empty:
        return pd.DataFrame()
    spread = table.low.map(number) + " to " + table.high.map(number)
    text = table["mean"].map(number) + np.where(table.low < table.high, " (" + spread + ")", "")
    wide = table.assign(text=text).pivot(index="width", columns="seed", values="text").fillna("")
    return wide.rename(columns="seed {}".format, index="w = {}".format)


def over_epochs(evidences: Evidences) -> pd.DataFrame:
    """Rank correlation of test error and sharpness over epochs, past the threshold: from the first epoch on, and from the
    epoch of the lowest early test error on, that is over rise and second descent; '–' where it does not rise. Means over
    widths."""
    rows = {
        name: {
            f"{norm}, {when}": _mean_correlation(evidence.view(), metric, rise)
            for metric, norm in zip(METRICS, ("Jacobian norm", "Hessian norm"), strict=True)
            for rise, when in ((False, "all epochs"), (True, "after the first descent"))
        }
        for name, evidence in evidences.items()
        if evidence.threshold is not None
    }
    return pd.DataFrame.from_dict(rows, orient="index").map(lambda value: "–" if np.isnan(value) else f"{value:.2f}")


def by_tolerance(evidences: Evidences) -> pd.DataFrame:
    """The claims whose verdict would be another one if the threshold allowed some training error."""
    rows = []
    for name, evidence in evidences.items():
        same = {_read(evidence): evidence}  # nothing else of the evidence hangs on the tolerance
        read = {t: same.setdefault(_read(other), other) for t in trends.TOLERANCES for other in [evidence.allowing(t)]}
        for claim in claims.about(name.split("/")[1]):
            evidence.read_the_threshold = False
            states = {evidence: claim(evidence).state}
            if evidence.read_the_threshold:
                states |= {other: claim(other).state for other in same.values() if other is not evidence}
            after = {f"at {t:g}%": states.get(other, states[evidence]) for t, other in read.items()}
            if set(after.values()) != {states[evidence]}:
                rows.append({"Records": name, "claim": claim.statement, "verdict": states[evidence], **after})
    columns = ["Records", "claim", "verdict", *(f"at {tolerance:g}%" for tolerance in trends.TOLERANCES)]
    return pd.DataFrame(rows, columns=columns).set_index("Records")


def _read(evidence: Evidence) -> tuple[int | None, ...]:
    """The threshold, and those of the moments."""
    return evidence.threshold, *evidence.thresholds


def _or_none(width: int | None) -> str:
    return "none" if width is None else f"w = {width}"


def _range(widths: Iterable[int | None]) -> str:
    found = sorted(set(widths), key=lambda width: (width is None, width or 0))
    if len(found) == 1:
        return _or_none(found[0])
    return f"{found[0]} to {'none' if found[-1] is None else found[-1]}"


def _top(view: View, top: trends.Peak | None) -> str:
    return "none" if top is None else f"w = {top.at} ({number(view.end('train_error')[top.at])}%)"


def _mean_correlation(view: View, metric: str, after_first_descent: bool) -> float:
    found = []
    for width in view.widths:
        if view.threshold is None or width < view.threshold:
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
