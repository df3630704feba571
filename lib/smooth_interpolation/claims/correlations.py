"""The abstract's claim: sharpness and test error go together, over widths and over epochs, see `registry`.

Spearman's rank correlation. Its interval resamples seeds and widths. It supports the claim if the correlation is at least
`trends.STRONG` and the interval lies above 0, and contradicts it if the interval lies below `trends.STRONG`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import trends
from .epochs import UNJUDGED, histories, too_few
from .evidence import View
from .registry import CLEAN, NOISY, RESNET, Finding, claim


def over_widths(metric: str) -> Callable[[View], Finding]:
    """The metric over the largest volume against the test error, over widths."""

    def check(view: View) -> Finding:
        error = view.end("test_error").to_numpy()
        sharpness = view.volume(metric, size=view.sizes[-1]).to_numpy()
        drawn = view.drawn(len(error))
        effect = trends.rank_correlation(sharpness[drawn], error[drawn])
        sentence = f"Over {len(error)} widths the rank correlation is {effect:.2f}."
        return Finding("inconclusive", effect, "rank correlation, largest volume", sentence)

    return check


def over_epochs(metric: str) -> Callable[[View], Finding]:
    """The metric at the points against the test error over epochs, averaged over the widths from the threshold on."""
    measure = "rank correlation, at the points, mean over widths"

    def check(view: View) -> Finding:
        if view.threshold is None:
            return Finding("inconclusive", float("nan"), measure, UNJUDGED)
        found = view.once(("over epochs", metric), lambda: correlations(view, metric))
        values = found[view.drawn(len(found))]
        effect = float(values.mean()) if len(values) else float("nan")
        several = f" on average, {found.min():.2f} to {found.max():.2f} for the {len(found)} widths"
        sentence = f"Over the epochs the rank correlation is {effect:.2f}{several if len(found) > 1 else ''}"
        sentence += f" from w = {view.threshold} on."
        few = too_few(len(found), f"from w = {view.threshold} on")
        if few:  # without an effect there is no interval to judge by
            return Finding("inconclusive", float("nan"), measure, f"{sentence} {few}")
        return Finding("inconclusive", effect, measure, sentence)

    return check


def correlations(view: View, metric: str) -> np.ndarray:
    """Of the metric and the test error over epochs, for every width from the threshold on."""
    errors, found = histories(view, "test_error", True), []
    for width, sharpness in histories(view, metric, True).items():
        error, sharpness = errors[width].align(sharpness, join="inner")
        found.append(trends.rank_correlation(sharpness.to_numpy(), error.to_numpy()))
    return np.array([value for value in found if np.isfinite(value)] or [np.nan])


# fmt: off
EVERYWHERE = (NOISY, CLEAN, RESNET)
claim("jacobian-follows-test-error-over-widths", "Abstract", "", EVERYWHERE,
      "Over widths, the Jacobian norm and the test error go together.",
      over_widths("jacobian_norm"), over_widths=True, by_interval=True)
claim("hessian-follows-test-error-over-widths", "Abstract", "", EVERYWHERE,
      "Over widths, the Hessian norm and the test error go together.",
      over_widths("tangent_hessian_norm"), over_widths=True, by_interval=True)
claim("jacobian-follows-test-error-over-epochs", "Abstract", "", EVERYWHERE,
      "Over the epochs, past the threshold, the Jacobian norm and the test error go together.",
      over_epochs("jacobian_norm"), over_widths=True, by_interval=True)
claim("hessian-follows-test-error-over-epochs", "Abstract", "", EVERYWHERE,
      "Over the epochs, past the threshold, the Hessian norm and the test error go together.",
      over_epochs("tangent_hessian_norm"), over_widths=True, by_interval=True)
# fmt: on
