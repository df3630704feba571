"""What a claim is, and how the answers to it on samples of the seeds and moments become one verdict.

A claim is one check with one place in the paper, judged on the experiments that it is about. The check looks at curves
that are means over seeds, and is asked again for every sample of the seeds and of the moments at the end of training (see
`evidence`): a verdict stands only if `trends.AGREE` of the samples give it, so seeds or moments that disagree are inconclusive.
With one seed the spread over seeds is unknown, and said to be. The thresholds of judgement stand in `trends`; they are the
same for every claim and scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from . import trends
from .evidence import Evidence, NotMeasuredError, View

State = Literal["supported", "contradicted", "inconclusive", "not measured"]
STATES: tuple[State, ...] = get_args(State)

NOISY, CLEAN, RESNET, ASYMMETRIC = "convnet-noise20", "convnet-cifar100", "resnet18-noise20", "convnet-asymmetric"


@dataclass(frozen=True)
class Finding:
    """What a check sees in one set of curves."""

    state: State
    effect: float  # in the unit of the curve
    measure: str  # what the effect is, with its unit: see `tests/test_verdicts.py`, 'has_a_unit'
    sentence: str
    images: float = 0.0  # half of the interval that the number of test images leaves of the effect


@dataclass(frozen=True)
class Verdict:
    state: State
    sentence: str
    effect: float | None = None
    low: float | None = None  # the interval of the effect; None where it is unknown
    high: float | None = None
    over: str = ""  # what the interval is over: seeds, moments, widths, test images
    measure: str = ""
    n_seeds: int = 0


Check = Callable[[View], Finding]


@dataclass(frozen=True)
class Claim:
    name: str
    section: str  # of the paper
    figures: tuple[str, ...]
    experiments: tuple[str, ...]  # whose records it looks at
    statement: str
    check: Check
    over_widths: bool = False  # the effect is a statistic over widths: its interval resamples them too
    by_interval: bool = False  # the verdict, too, follows from that interval

    @property
    def place(self) -> str:
        return ", ".join(filter(None, (self.section, ", ".join(self.figures))))

    def __call__(self, evidence: Evidence) -> Verdict:
        if len(evidence.widths) < trends.MIN_WIDTHS or not evidence.seeds:
            return Verdict(
                "not measured", f"Needs at least {trends.MIN_WIDTHS} widths with a common seed{_lacking(evidence)}."
            )
        try:
            finding = self.check(evidence.view())
            samples = evidence.samples(self.check)
            by_width = evidence.over_widths(self.check) if self.over_widths else []
        except NotMeasuredError as reason:
            return Verdict("not measured", str(reason))
        low, high = _interval(finding, by_width or samples)
        state, sentence = finding.state, finding.sentence
        if self.by_interval and low is not None and high is not None:
            state = decided(finding.effect >= trends.STRONG and low > 0, high < trends.STRONG)
        elif state in ("supported", "contradicted") and samples:
            agree = sum(p for p, other in samples if other.state == state)
            if agree < trends.AGREE:
                state, sentence = (
                    "inconclusive",
                    f"{sentence} {agree:.0%} of the samples agree; {trends.AGREE:.1%} are asked for.",
                )
        sources = {
            "seeds": len(evidence.seeds) > 1,
            "moments": evidence.moments > 1,
            "widths": self.over_widths,
            "test images": finding.images > 0,
        }
        over = ", ".join(name for name, counts in sources.items() if counts) if low is not None else ""
        return Verdict(state, sentence, finding.effect, low, high, over, finding.measure, len(evidence.seeds))


CLAIMS: list[Claim] = []


def claim(
    name: str,
    section: str,
    figures: str | tuple[str, ...],
    experiments: str | tuple[str, ...],
    statement: str,
    check: Check,
    **options: bool,
) -> None:
    """Add a claim to the registry."""
    figures, experiments = (((value,) if isinstance(value, str) else value) for value in (figures, experiments))
    CLAIMS.append(Claim(name, section, tuple(filter(None, figures)), experiments, statement, check, **options))


def decided(yes: bool, no: bool) -> State:
    return "supported" if yes else "contradicted" if no else "inconclusive"


def share(shown: Iterable[bool], perhaps: Iterable[bool] = ()) -> State:
    """Of a trend that is said of many curves: the verdict, given which of them show it, and which might."""
    shown = list(shown)
    might = [a or b for a, b in zip(shown, perhaps, strict=True)] if perhaps else shown
    return decided(bool(np.mean(shown) >= trends.MOST), bool(np.mean(might) < trends.FEW))


def _lacking(evidence: Evidence) -> str:
    """Which seeds are left out for want of a width: one run that is missing or diverged takes its seed from every claim."""
    return "".join(
        f"; seed {seed} is left out, since it has no volumes at w = {', '.join(map(str, widths))}: not measured, or diverged"
        for seed, widths in evidence.left_out.items()
    )


def _interval(finding: Finding, samples: list[tuple[float, Finding]]) -> tuple[float, float] | tuple[None, None]:
    """The interval of an effect: that of the samples and that of the test images, added in quadrature on each side."""
    effect = finding.effect
    found = sorted((other.effect, p) for p, other in samples if np.isfinite(other.effect))
    if not np.isfinite(effect) or not (found or finding.images):
        return None, None
    low = high = effect
    if found:
        effects, weights = np.array(found).T
        below = np.cumsum(weights) / weights.sum()
        outside = (1 - trends.COVERAGE) / 2
        low, high = (effects[np.searchsorted(below, q - 1e-12)] for q in (outside, 1 - outside))
    down, up = max(effect - low, 0.0), max(high - effect, 0.0)  # it holds the effect, whatever the samples
    return float(effect - math.hypot(down, finding.images)), float(effect + math.hypot(up, finding.images))
