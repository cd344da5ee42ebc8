"""`shapes`: procedural pictures of twelve classes of figures, with boxes and masks, drawn on request.

dataset     the image sets, and which one `shapes[...]` opens
scene       the outlines of the classes, and one picture: a pure function of (seed, index, size)
relations   pictures whose class is a relation between distant parts
"""
