"""`shapes`: procedural pictures of twelve classes of figures, with boxes and masks, made when they are asked for.

outlines    the classes: what each figure's outline is
surfaces    colours and textures
scene       one picture: a pure function of (seed, index, size)
dataset     the image set
"""
