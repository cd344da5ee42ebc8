"""Reports: tables for the terminal, and a page, a document and tables for papers from one content."""

from stmbench.reporting.build_report import build_report, places, write_report
from stmbench.reporting.facts import placed, read_stores

__all__ = ["build_report", "placed", "places", "read_stores", "write_report"]
