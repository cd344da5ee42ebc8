"""Images: embedded sets that need no download, and real ones from disk."""
