"""What a claim is, and how the answers to it on samples of the seeds become one verdict.

A claim is one check with one place in the paper, judged on the experiments that it is about. The check looks at curves
that are means over seeds, and is asked again for every bootstrap sample of the seeds (see `evidence`): a verdict stands only
if `AGREE` of the samples give it, so seeds that disagree are inconclusive. With one seed the spread over seeds is unknown, and
said to be. The thresholds of judgement stand in `trends`; they are the same for every claim and scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from . import trends
from .evidence import Evidence, NotMeasuredError, View

State = Literal["supported", "contradicted", "inconclusive", "not measured"]
STATES: tuple[State, ...] = get_args(State)
MIN_WIDTHS = 5  # fewer show no trend
AGREE = 0.975  # of the bootstrap samples give the verdict: with two or three seeds, each of them
COVERAGE = 0.95  # of an interval

NOISY, RESNET, ASYMMETRIC = "convnet-noise20", "resnet18-noise20", "convnet-asymmetric"
CLEAN = ("convnet-cifar100", "convnet-leaves100")  # the second where CIFAR-100 cannot be had


@dataclass(frozen=True)
class Finding:
    """What a check sees in one set of curves."""

    state: State
    effect: float
    measure: str  # what the effect is
    sentence: str


@dataclass(frozen=True)
class Verdict:
    state: State
    sentence: str
    effect: float | None = None
    low: float | None = None  # the interval of the effect; None where it is unknown
    high: float | None = None
    over: str = ""  # what the interval was found by resampling: seeds, widths, or both
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
        if len(evidence.widths) < MIN_WIDTHS or not evidence.seeds:
            return Verdict(
                "not measured", f"Needs at least {MIN_WIDTHS} widths with a common seed{_lacking(evidence)}."
            )
        n_seeds = len(evidence.seeds)
        try:
            finding = self.check(evidence.view())
            by_seed = [(p, self.check(view)) for p, view in evidence.over_seeds()]
            by_width = [(p, self.check(view)) for p, view in evidence.over_widths()] if self.over_widths else []
        except NotMeasuredError as reason:
            return Verdict("not measured", str(reason))
        low, high = _interval(by_width or by_seed)
        state, sentence = finding.state, finding.sentence
        if self.by_interval and low is not None:
            state = _correlated(finding.effect, low, high)
        elif state in ("supported", "contradicted") and by_seed:
            agree = sum(p for p, other in by_seed if other.state == state)
            if agree < AGREE:
                state, sentence = "inconclusive", f"{sentence} {agree:.0%} of the bootstrap samples of the seeds agree."
        over = " and ".join(["seeds"] * (n_seeds > 1) + ["widths"] * self.over_widths) if low is not None else ""
        return Verdict(state, sentence, finding.effect, low, high, over, finding.measure, n_seeds)


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


def share(shown: Iterable[bool]) -> State:
    """Of a trend that is said of many curves: the verdict, given which of them show it."""
    found = float(np.mean(list(shown)))
    return "supported" if found >= trends.MOST else "contradicted" if found < trends.FEW else "inconclusive"


def _lacking(evidence: Evidence) -> str:
    """Which seeds are left out for want of a width: one run that is missing or diverged takes its seed from every claim."""
    return "".join(
        f"; seed {seed} is left out, since it has no volumes at w = {', '.join(map(str, widths))}: not measured, or diverged"
        for seed, widths in evidence.left_out.items()
    )


def _correlated(effect: float, low: float, high: float) -> State:
    if effect >= trends.STRONG and low > 0:
        return "supported"
    return "contradicted" if high < trends.STRONG else "inconclusive"


def _interval(samples: list[tuple[float, Finding]]) -> tuple[float, float] | tuple[None, None]:
    found = sorted((finding.effect, p) for p, finding in samples if np.isfinite(finding.effect))
    if not found:
        return None, None
    effects, weights = np.array(found).T
    below = np.cumsum(weights) / weights.sum()
    outside = (1 - COVERAGE) / 2
    low, high = (effects[np.searchsorted(below, q - 1e-12)] for q in (outside, 1 - outside))
    return float(low), float(high)
