"""What was done to runs and their files, and how often what was promised held: a table from `benchmarks/results`."""

from __future__ import annotations

from IPython.display import Markdown

from .performance import Benchmarks


def table(found: Benchmarks) -> Markdown:
    """A row per scenario of `benchmarks.reliability`, what does not always hold in bold, and all of them together."""
    rows = [found[name] for name in found.origins]
    lines = ["| What is done, and what is promised | tried | held |", "|---|---:|---:|"]
    for row in rows:
        held = f"{row['held']:,}" if row["held"] == row["tried"] else f"**{row['held']:,}**"
        lines.append(f"| {row['what']} | {row['tried']:,} | {held} |")
    tried, held = (sum(row[name] for row in rows) for name in ("tried", "held"))
    minutes = sum(row["seconds"] for row in rows) / 60
    lines.append(f"| **All, in {minutes:.0f} minutes** | **{tried:,}** | **{held:,}** |")
    return Markdown("\n".join(lines))
