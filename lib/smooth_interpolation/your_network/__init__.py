"""The measures of the paper for a network of your own."""

from ..measure.paths import scaled_strengths
from .examination import Examination, examine

__all__ = ["Examination", "examine", "scaled_strengths"]
