"""The dashboard of a history: one page that works from the disk, and a feed of what got worse."""
