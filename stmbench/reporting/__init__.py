"""Reports: tables for the terminal, and a page, a document and tables for papers from one content."""

from stmbench.reporting.compose import compose
from stmbench.reporting.output import places, write_report
from stmbench.reporting.sources import placed, read_stores
from stmbench.reporting.terminal.profile import profile_table

__all__ = ["compose", "placed", "places", "profile_table", "read_stores", "write_report"]
