"""Figures of effective receptive fields."""
