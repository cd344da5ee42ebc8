"""Comparisons of two versions: `stmbench compare`, from two stores or, with `--live`, by running both.

findings        measured effects, corrected for multiple testing and adjudicated
live            a live comparison: its two workers, its findings, `--confirm`
sampling        its options; alternating rounds of one model, and when to stop
worker_process  the code of a side (checkout, environment, plug-ins), and the process that runs it
worker          the script in that process: builds and runs models with that code, whatever its age
models          two models of one store, in everything that both have
model_costs     their speed, memory and counts
overview        every model of a store against one of them
stored          two stores compared
stored_profile  their times, costs and memory
stored_quality  their accuracies, average precisions and the like, paired by image if possible
"""
