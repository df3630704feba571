"""The figures, one function each: from an experiment's records to a matplotlib figure, `fig3(runs, mark_width=15)`."""

from .by_volume import COLUMNS, PANELS, PARTS, UNITS
from .files import save, written
from .heatmaps import HEATMAPS
from .paper import FIGURES, draw, of_runs
from .style import geometric, sequence

fig1c, fig1d, fig2, fig3, fig4, fig5 = map(of_runs, ("fig1c", "fig1d", "fig2", "fig3", "fig4", "fig5"))
fig2_parts, fig3_parts = map(of_runs, ("fig2-parts", "fig3-parts"))
fig6a, fig6b, fig7a, fig7b = map(of_runs, ("fig6a", "fig6b", "fig7a", "fig7b"))
appendix_heatmaps, appendix_volumes = map(of_runs, ("appendix-heatmaps", "appendix-volumes"))

__all__ = [
    "COLUMNS", "FIGURES", "HEATMAPS", "PANELS", "PARTS", "UNITS", "appendix_heatmaps", "appendix_volumes", "draw", "fig1c",
    "fig1d", "fig2", "fig2_parts", "fig3", "fig3_parts", "fig4", "fig5", "fig6a", "fig6b", "fig7a", "fig7b", "geometric", "save", "sequence", "written",
]  # fmt: skip
