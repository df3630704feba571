"""The measures of the paper for a network of your own."""

from .examination import Examination, examine, scaled_strengths

__all__ = ["Examination", "examine", "scaled_strengths"]
