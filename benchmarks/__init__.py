"""How fast this project is, as ratios within one run: `python -m benchmarks`, and `python -m benchmarks.gpu` on a GPU."""
