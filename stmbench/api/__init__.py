"""The Python API: what `import stmbench as sb` offers.

analyses   a function for each analysis, made from its entry in the registry, as its command is; models, images and
           weights as Python gives them
functions  these functions by name, and their typed signatures for editors and type checkers (functions.pyi)
stores     what works on stores: compare, read, export, compact_store, report
history    stores by commit, and their dashboard
commands   the functions of the other commands: train, run, check, convert, the lists
study      from a new mixer to an answer
results    `Result`, which every function of an analysis gives back, and progress, in a notebook too
"""
