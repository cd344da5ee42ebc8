"""Training: a recipe, the loop that follows it, and checkpoints from which it resumes bit-identically."""
