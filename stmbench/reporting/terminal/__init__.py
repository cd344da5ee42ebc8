"""Tables for a terminal: one analysis per file."""
