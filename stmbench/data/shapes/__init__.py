"""`shapes`: procedural pictures of twelve classes of figures, with boxes and masks, drawn on request.

dataset     the image sets, and which one `shapes[...]` opens
outlines    the classes: the outline of each figure
scene       one picture with its colours and textures: a pure function of (seed, index, size)
relations   pictures whose class is a relation between distant parts
"""
