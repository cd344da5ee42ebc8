"""Robustness: what is left of a model's accuracy when each pixel may be changed by at most eps.

eps         perturbation sizes, as words and as numbers
target      a model as attacks see it: pixels in [0, 1] in, logits out, normalisation inside
fgsm        the fast gradient sign method: one gradient for every eps
library     the attacks of torchattacks
mistakes    the common mistake, as an attack with a name that says so
attacks     the attacks by name
outcomes    what an attack did to each image, and its file
runner      an attack over batches of images
validity    the panel of checks that a sound attack passes
summary     the rows of one model, and of models against each other
config      what was asked for
analysis    the units of work in order
"""
