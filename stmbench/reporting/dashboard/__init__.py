"""The dashboard of a history: one page that works from the disk, and a feed of regressions.

page, feed    the files
data          what the page draws
labels        values and conditions in words
"""
