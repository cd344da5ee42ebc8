"""Reports: tables for the terminal, and a page, a document and tables for papers from one content."""

from stmbench.reporting.build_report import build_report
from stmbench.reporting.output import places, write_report
from stmbench.reporting.sources import placed, read_stores
from stmbench.reporting.terminal.profile import profile_table

__all__ = ["build_report", "placed", "places", "profile_table", "read_stores", "write_report"]
