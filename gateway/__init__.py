"""A gateway that lets a whole team share one Replicate account."""

__version__ = "0.1.0"
