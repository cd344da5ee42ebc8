"""Invariance: does a prediction stay when the image is moved, turned or scaled? docs/definitions/invariance.md.

definitions   protocols with names and versions: ours, the paper's, the authors' code
measures      from logits at each level to consistency, accuracy and soft cross-entropy
config        what was asked for
analysis      the units of work
"""
