"""What the paper claims, as functions that look at the runs and answer.

A claim answers `supported`, `contradicted`, `inconclusive` or `not measured`, with an effect size, its spread and a
sentence. `registry` says how, and `trends` holds the thresholds of judgement; the claims stand in `widths` (Figures 1 to 4, 6 and 7)
and `epochs` (Figures 5 and 11, and the abstract).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from .. import config
from ..runs import record_format
from ..runs.records import Records, listed
from . import checks, epochs, moments, widths  # noqa: F401 (epochs and widths add to CLAIMS)
from .evidence import Evidence
from .registry import ASYMMETRIC, CLAIMS, CLEAN, NOISY, RESNET, STATES, Claim, State, Verdict

__all__ = ["APART", "ASYMMETRIC", "CLAIMS", "CLEAN", "COLUMNS", "EXPERIMENTS", "NOISY", "RESNET", "SCALES", "STATES", "Claim",
           "Evidence", "State", "Verdict", "about", "judge"]  # fmt: skip


def figure_order(figure: str = "Figure 99") -> tuple[int, str]:
    """For sorting: 'Figure 1d' comes after 'Figure 1c' and before 'Figure 11'."""
    name = figure.removeprefix("Figure ")
    return int(name.rstrip("abcd")), name


SCALES = tuple(
    scale for scale in config.SCALES if scale != "demo"
)  # `demo` is for trying things out: no verdict there counts

CLAIMS.sort(key=lambda one: figure_order(*one.figures[:1]))  # the paper's order, the abstract last
KINDS = {
    NOISY: ("convnet", "symmetric"),
    CLEAN: ("convnet", "none"),
    RESNET: ("resnet18", "symmetric"),
    ASYMMETRIC: ("convnet", "asymmetric"),
}  # the paper's experiments: network and label noise
EXPERIMENTS = tuple(KINDS)
APART = "It does not apply"
NETWORKS = {"convnet": "ConvNets", "resnet18": "ResNets"}
WORDS = {
    "symmetric": "wrong labels of all classes",
    "none": "clean labels",
    "asymmetric": "wrong labels of some classes",
}


def about(experiment: str) -> list[Claim]:
    """The claims that are judged on the records of one of `EXPERIMENTS`."""
    return [one for one in CLAIMS if experiment in one.experiments]


def kin(name: str | None, network: str, noise: str) -> str:
    """The paper's experiment that one of these is like; a network that is no ResNet18 counts as a ConvNet.

    Example:
        >>> kin("mine", "my_models:MLP", "asymmetric"), kin("mine", "resnet18", "none")
        ('convnet-asymmetric', 'convnet-cifar100')
    """
    if name and name in EXPERIMENTS:
        return name
    wanted = network if network == "resnet18" else "convnet", noise
    return next((one for like in (wanted, ("convnet", noise)) for one, kind in KINDS.items() if kind == like), NOISY)


COLUMNS = ["claim", "experiment", "place", "figures", "statement", "verdict", "effect", "low", "high", "over",
           "measure", "seeds", "sentence", "kept"]  # fmt: skip


def judge(
    records: Iterable[record_format.Record], experiment: str | None = None, plan: config.Experiment | None = None
) -> pd.DataFrame:
    """The claims about an experiment in the light of its records, a row per claim, indexed by its name.

    Args:
        records: of any family of networks.
        experiment: whose claims are judged. For a name that is none of `EXPERIMENTS` these are the claims about it, and those about
            the one that the records are like, see `kin`; by default, the name in the records.
        plan: the widths and seeds to judge, such as `config.find(scale, experiment)`; records outside it are ignored.
            Without one, that of the `Records`; of other records the largest complete grid of widths and seeds is judged.

    Returns:
        Columns: `COLUMNS`. The effect is in the unit that `measure` names; `low` and `high` enclose 95% of it `over` seeds,
        moments at the end of training, widths and test images, whichever apply; where they are missing, the spread is
        unknown. Without records every claim is not measured. Of records that are not of one of the paper's experiments there
        are also the claims that do not apply, "not measured", and the sentence says why. `kept` is what the verdict would be
        without the widths that have forgotten what they had fitted, see `moments.forgotten`.

    Raises:
        RecordError: for a table, such as `examine` gives: it has not what verdicts need, the course of training.

    Example:
        >>> from smooth_interpolation import records
        >>> verdicts = judge(records("demo", "convnet-noise20"))
        >>> set(verdicts.verdict) <= set(STATES)
        True
    """
    records = listed(records)
    if isinstance(records, Records):
        plan, experiment = plan or records.experiment, experiment or records.experiment.experiment
    of: Any = records[0]["config"] if len(records) else getattr(plan, "__dict__", {})
    experiment = experiment or of.get("experiment", NOISY)
    model = of.get("model", "convnet")
    like = kin(experiment, model, of.get("noise", "symmetric"))
    evidence = Evidence.of(records, plan)
    applying = [one for one in CLAIMS if {experiment, like} & set(one.experiments)]
    forgotten = moments.forgotten(evidence.history)
    kept = Evidence.of([r for r in records if r["config"]["width"] not in forgotten], plan) if forgotten else None
    found = [(one, *_both(one, evidence, kept, forgotten)) for one in applying]
    for one in CLAIMS if experiment != like else []:
        if one not in applying:
            why = f"{APART}: it is about {_kinds(one)}, and these are {_words(model, KINDS[like][1])}."
            found.append((one, Verdict("not measured", why), "not measured"))
    rows = [
        (one.name, like, one.place, one.figures, one.statement, v.state, v.effect, v.low, v.high, v.over, v.measure, v.n_seeds, v.sentence, state)
        for one, v, state in found
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS).set_index("claim")
    return table.astype({"effect": float, "low": float, "high": float})


def _both(one: Claim, evidence: Evidence, kept: Evidence | None, forgotten: list[int]) -> tuple[Verdict, State]:
    """The verdict, whose sentence says if it would be another one without the widths that forgot, and what it would be."""
    found = one(evidence)
    state = one(kept).state if kept else found.state
    if state == found.state:
        return found, state
    without = f"Without w = {checks.listed(forgotten)}, which forget what they had fitted: {state}."
    return replace(found, sentence=f"{found.sentence} {without}"), state


def _kinds(one: Claim) -> str:
    return " or ".join(_words(*KINDS[name]) if name in KINDS else name for name in one.experiments)


def _words(network: str, noise: str) -> str:
    return f"{NETWORKS.get(network, f'networks {network!r}')} trained on {WORDS[noise]}"
