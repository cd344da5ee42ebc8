"""Training, for every task alike: a recipe, the loop that follows it, and checkpoints to resume from bit-identically.

options, settings    what can be asked for, one run
recipe, presets      the fields of a recipe, and recipes by name
dino_recipe          those of self-distillation
batches              the order of images
loop                 steps and epochs
optimisation         parameter groups, schedule, EMA
batch_norm           synchronised statistics
distributed          several processes
state                a run's folder, and states to resume from
progress, rows       curves, TensorBoard, rows of the table
analysis             runs as units of work
"""
