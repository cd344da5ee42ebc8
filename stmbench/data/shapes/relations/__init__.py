"""Pictures whose class is a relation between distant parts, so that no local cue tells it.

What a network without a spatial mixer says is a sum over windows of 63 pixels (stem and transitions see no further, and
the head adds up). Each relation is therefore an exclusive or of two facts that no such window holds together, and each
fact alone, like all else in the picture, is independent of the class.

picture     what a picture is made of, and how it is drawn
same        are the figures at the left edge of the kind of those at the right edge?
larger      is the disc of the mark's colour the larger one?
connected   are two dots on one curve?
catalog     the relations by name; one picture: a pure function of (seed, index, size, relation)
"""
