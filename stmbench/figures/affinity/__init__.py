"""Figures of affinities: by depth, and as maps."""
