"""Profile: what models cost and how fast they run, compared in one interleaved run.

config      what was asked for
subjects    a model, or one of its mixers, ready to be run
costs       parameters, multiply-adds, activations, memory traffic: no clock involved
bench       the subjects of one setting, in memory and timed
residence   all of them in memory at once
peaks       their peak memory
parts       time by part of the network
samples     the raw samples of a run, read back from its parts, and when there are enough of them
summary     what the samples say
analysis    the units of work in order
"""
