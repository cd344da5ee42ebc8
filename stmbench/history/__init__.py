"""A measure over commits: records of a history folder, their series, and the steps in them."""
