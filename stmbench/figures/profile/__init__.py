"""Figures of a profile: costs and speed."""
