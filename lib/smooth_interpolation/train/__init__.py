"""The two families of networks, and how they and others are trained and evaluated: `train(model, images, labels)`."""

from .loop import train

__all__ = ["train"]
