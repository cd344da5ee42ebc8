"""Reports: one content, several formats.

content                 what a report says
overview                verdicts: every model against a baseline
build_report            from a table to a report and its files; every analysis's tables and figures
cross_analysis          what only several analyses can say; measured and published figures
metrics_table           a column for each metric, a row for each model and place
model_table             a row for each model; plain tables of values without a section of their own
interval_cell           of a terminal table
caveats, facts          warnings; stores, versions, machines
comparison              the outcome of `stmbench compare`
drawing_check           whether an analysis draws from rows alone
live, serving           the page of a store that is being written, and who may read it
formats, dashboard      how a report, and a history, is written
"""

from stmbench.reporting.build_report import build_report, places, write_report
from stmbench.reporting.facts import placed, read_stores

__all__ = ["build_report", "placed", "places", "read_stores", "write_report"]
