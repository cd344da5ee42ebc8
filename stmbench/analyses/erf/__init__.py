"""Effective receptive fields: which pixels the central unit of a stage depends on.

docs/definitions/erf.md says exactly what is computed.

stages       a model's stages, and their maps by one forward pass that stops at the last one asked for
strides      what changes a map's size on the way to each stage
centre       where on the input a unit's centre lies, from the convolutions before it
gradients    a batch's gradient maps for the central unit of each stage, from one forward pass
squares      from a map to the side of the smallest square with a share of its mass
definitions  which gradient, scaling and centre: ours, the paper's, the authors' code
study        maps of many images gathered, and what they say
config       what was asked for
analysis     the units of work
"""
