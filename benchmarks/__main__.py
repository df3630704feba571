"""`python -m benchmarks`: how fast this is on a CPU; prints ratios and writes what the book's page is drawn from."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import cpu, timing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes for a test, not for numbers")
    parser.add_argument("--only", action="append", choices=cpu.SECTIONS, help="measure only this again")
    parser.add_argument("--output", type=Path, help="directory of the results, instead of benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
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
