"""The Python API: what `import stmbench as sb` offers.

analyses   a function for each analysis, made from its entry in the registry, as its command is
functions  these functions by name, and their typed signatures for editors and type checkers (functions.pyi)
training   `train`
stores     what works on stores: compare, read, export, report, and the history
commands   the functions of the other commands: run, check, convert, the lists
request    models, images and weights as Python gives them, turned into what an analysis takes
results    `Result`, which every function of an analysis gives back, and `Comparison`
progress   how far a run is, on a terminal or in a notebook
"""
