"""`shapes`: procedural pictures of twelve classes of figures, with boxes and masks, drawn on request.

dataset     the image sets, and which one `shapes[...]` opens
outlines    the polygons of the classes
scene       one picture: a pure function of (seed, index, size)
relations   pictures whose class is a relation between distant parts
"""
