"""Reports: the overview of a profile for the terminal, and a self-contained page."""

from stmbench.reporting.page import write_page
from stmbench.reporting.terminal import profile_table

__all__ = ["profile_table", "write_page"]
