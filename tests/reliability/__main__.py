"""`python -m tests.reliability`: do all scenarios, and write the table in the book."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import bad_input, clusters, scenarios  # noqa: F401 (two add their scenarios)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes for a test, not for numbers")
    parser.add_argument("--only", action="append", choices=scenarios.SCENARIOS, help="count only this again")
    parser.add_argument("--output", type=Path, help="directory of the table, instead of benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenarios.main(arguments.output, arguments.quick, arguments.only)


if __name__ == "__main__":
    main()
