"""What was done to runs and their files, and how often what was promised held: a table from `benchmarks/results`."""

from __future__ import annotations

import pandas as pd

from .captioned import Rich
from .captioned import table as captioned
from .performance import Benchmarks


def table(found: Benchmarks) -> Rich:
    """A row per scenario of `tests/reliability`, what does not always hold in bold, and all of them together."""
    rows = [found[name] for name in found.origins]
    shown = [
        (
            row["what"],
            f"{row['tried']:,}",
            f"{row['held']:,}" if row["held"] == row["tried"] else f"**{row['held']:,}**",
        )
        for row in rows
    ]
    tried, held, seconds = (sum(row[name] for row in rows) for name in ("tried", "held", "seconds"))
    shown.append((f"**All, in {seconds / 60:.0f} minutes**", f"**{tried:,}**", f"**{held:,}**"))
    frame = pd.DataFrame(shown, columns=["What is done, and what is promised", "tried", "held"])
    return captioned(
        frame.set_index(frame.columns[0]),
        "What was done to small runs, how often, and how often what is promised held.",
    )
