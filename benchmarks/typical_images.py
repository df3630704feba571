"""`python -m benchmarks.typical_images`: the training images that the book walks from, with labels and origin, as one PNG.

Two with different wrong labels and one with its own, of the first of those that are measured: the most typical ones, whose
Jacobian norm over the largest volume is nearest to the median of their kind, for the network of width 16.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import smooth_interpolation as si
from smooth_interpolation.data import preparation
from smooth_interpolation.measure.volumes import volume_metrics
from smooth_interpolation.runs import provenance, weights
from smooth_interpolation.studies import walks

WIDTH = 16
POINTS = 300  # of each kind
WANTED = ((True, 2), (False, 1))  # with a wrong label, and how many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    runs = si.records(None, "convnet-noise20")
    experiment = runs.experiment
    data = preparation.prepare(experiment)
    wrong = data.corrupted[data.points]
    points = torch.cat([data.points[wrong == kind][:POINTS] for kind, _ in WANTED])
    images, labels = data.train.images[points], data.train.labels[points]
    network = weights.network(experiment.run(WIDTH, 0), data.dataset.fingerprint)
    norms = volume_metrics(
        network, images.float() / 255, labels, normalize=data.normalize, n_paths=experiment.n_paths, n_tangents=1
    ).jacobian_norm[:, -1]
    chosen: list[int] = []
    for kind, number in WANTED:
        members = torch.nonzero(data.corrupted[points] == kind)[:, 0]
        distance = (norms[members] - norms[members].median()).abs()
        by_label = {
            int(labels[i]): int(i) for i in members[distance.argsort(descending=True)]
        }  # the nearest of each label
        chosen += sorted(by_label.values(), key=lambda i: abs(float(norms[i] - norms[members].median())))[:number]
    about = {
        "data": data.description(),
        "indices": points[chosen].tolist(),
        "labels": labels[chosen].tolist(),
        "truth": data.dataset.train.labels[points[chosen]].tolist(),
        "classes": list(data.dataset.classes),
        "chosen_by": f"the Jacobian norm over the largest volume at w = {WIDTH}, nearest to the median of {POINTS} of its kind",
        "origin": {**provenance.code(), "date": provenance.now()},
    }
    text = PngInfo()
    text.add_text(walks.ABOUT, json.dumps(about))
    strip = np.concatenate(list(images[chosen].permute(0, 2, 3, 1).numpy()), axis=1)
    path = walks.images_path(runs)
    Image.fromarray(strip).save(path, pnginfo=text, optimize=True)
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
