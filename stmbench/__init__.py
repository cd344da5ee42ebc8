"""stmbench: a fair comparison of spatial token mixers."""

__version__ = "0.1.0"
