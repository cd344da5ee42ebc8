"""Reports: one content, several formats.

content                 what a report says
build_report            from a table to a report and its files
analysis_views          every analysis's tables and figures
generic_section         values without a section of their own
cross_analysis          what only several analyses can say
published_comparison    alongside published figures
model_table             a row for each model
caveats, facts          warnings; stores, versions, machines
comparison              the outcome of `stmbench compare`
drawing_check           whether an analysis draws from rows alone
formats, dashboard      how a report, and a history, is written
"""

from stmbench.reporting.build_report import build_report, places, write_report
from stmbench.reporting.facts import placed, read_stores

__all__ = ["build_report", "placed", "places", "read_stores", "write_report"]
