"""Measurements over commits: records in a history folder, their series and change points.

folder         the folder: records by machine and commit, added and removed atomically; which to compare or prune
record         one record: facts, store, and the summary of its tracked values
adding         `stmbench history add`: from a store to records; what git knows of a commit
metrics        which metrics are tracked, and how
series         values over commits, corrected by the probe; events with suspect commits
change_points  where a series changes its level
"""
