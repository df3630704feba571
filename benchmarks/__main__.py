"""`python -m benchmarks`: how fast this is on a CPU; prints ratios and writes what the book's page is drawn from.

`python -m benchmarks reliability`: what is done to runs and their files, and how often what was promised held.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import bad_input, clusters, cpu, reliability, timing  # noqa: F401 (two add their scenarios to `reliability`)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=("cpu", "reliability"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="sizes for a test, not for numbers")
    parser.add_argument(
        "--only", action="append", choices=(*cpu.SECTIONS, *reliability.SCENARIOS), help="measure only this again"
    )
    parser.add_argument("--output", type=Path, help="directory of the results, instead of benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "reliability":
        reliability.main(arguments.output, arguments.quick, arguments.only)
        return
    name = "cpu-quick" if arguments.quick else "cpu"
    content = timing.read(name, arguments.output)
    for section in arguments.only or cpu.SECTIONS:
        origin = timing.origin()
        result = cpu.SECTIONS[section](arguments.quick)
        # Written at once: what is measured is not lost if a later part fails.
        content[section] = {"origin": origin, "result": timing.rounded(result)}
        path = timing.write(name, content, arguments.output)
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
