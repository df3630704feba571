"""`python -m benchmarks.beyond params/laptop/convnet-noise20.yaml`: the studies beyond the paper, of trained networks.

Networks are taken from the cache, where `smooth-interpolation sweep` leaves their final weights.
"""

from __future__ import annotations

import argparse
import sys
import time

import pandas as pd
import torch

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import RecordError, UserError
from smooth_interpolation.runs import provenance, weights
from smooth_interpolation.studies import beyond


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beyond", description=__doc__)
    parser.add_argument("params", help="the experiment, such as params/laptop/convnet-noise20.yaml")
    parser.add_argument("--only", action="append", choices=beyond.STUDIES, help="only this study; can be repeated")
    parser.add_argument("--seed", action="append", type=int, help="networks of this seed; can be repeated")
    parser.add_argument("--width", action="append", type=int, help="networks of this width; can be repeated")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    experiment = config.load(given.params, {"seeds": given.seed, "widths": given.width})
    data = preparation.prepare(experiment)
    for study in given.only or beyond.STUDIES:
        origin = {**provenance.code(), **provenance.machine(torch.device("cpu")), "start": provenance.now()}
        start, tables = time.perf_counter(), []
        for run in experiment.runs():
            try:
                network = weights.network(run, data.dataset.fingerprint)
            except RecordError as error:
                print(error, file=sys.stderr)
                continue
            table = beyond.STUDIES[study](network, data, run)
            tables.append(table.assign(width=run.width, seed=run.seed))
            print(f"{study}: {run}", flush=True)
        if not tables:
            raise RecordError(f"No network of {experiment.name} is in the cache: sweep {given.params} first.")
        whole = pd.concat(tables, ignore_index=True)
        origin |= {"end": provenance.now(), "seconds": round(time.perf_counter() - start, 1)}
        print(f"Written: {beyond.write(study, experiment, whole, data.description(), origin)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
