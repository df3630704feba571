"""Which images stand in for those of the paper, in words for the first lines of a page."""

from __future__ import annotations

from . import config, locations
from .config import Experiment

NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "dead_leaves": "the built-in dead_leaves"}
OF_THE_PAPER = {"convnet-leaves100": "convnet-cifar100"}  # an experiment that stands in for another


def note(experiment: Experiment) -> str:
    """One paragraph if the images are not those of the paper's experiment, else nothing."""
    name = OF_THE_PAPER.get(experiment.experiment, experiment.experiment)
    if not locations.params_file("paper", name).is_file():
        return ""
    paper = config.find("paper", name)
    if paper.dataset == experiment.dataset:
        return ""
    images = f"{experiment.n_train:,} images" if experiment.n_train else "all images"
    text = (
        f"**A stand-in is drawn here.** The paper draws this figure from {NAMES.get(paper.dataset, paper.dataset)}; scale "
        f"`{experiment.scale}` draws it from {images} of {NAMES.get(experiment.dataset, experiment.dataset)} in "
        f"{experiment.n_classes} classes"
    )
    if experiment.noise == "asymmetric":
        text += (
            f", {experiment.n_corrupted_classes} of which have {experiment.noise_fraction:.0%} of their labels wrong "
            f"(in the paper {paper.n_corrupted_classes} of {paper.n_classes})"
        )
    elif experiment.noise == "symmetric":
        text += f", {experiment.noise_fraction:.0%} of them with a wrong label"
    else:
        text += ", all labels clean"
    return text + "."
