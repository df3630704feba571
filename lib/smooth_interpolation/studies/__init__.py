"""What goes beyond the figures of the paper."""
