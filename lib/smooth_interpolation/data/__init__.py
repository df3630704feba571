"""Images and labels: data sets in one canonical order, label noise, the points to measure around."""
