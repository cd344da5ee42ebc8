"""Training: a recipe, the loop that follows it, and checkpoints from which it resumes bit-identically.

options, settings    what can be asked for, one run
recipe               recipes by name and their fields
data, images         sets, batches, augmentation
loop                 steps and epochs
optimisation         parameter groups, schedule, EMA
batch_norm           synchronised statistics
distributed          several processes
state                a run's folder, and states to resume from
validation           exact evaluation
progress, rows       curves, TensorBoard, rows of the table
analysis             runs as units of work
"""
