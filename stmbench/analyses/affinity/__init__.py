"""Affinity: which positions each output position looks at, drawn and in numbers, layer by layer and head by head.

config      what was asked for
layers      the mixers of a model, in order, with their maps, and which of them were chosen
visit       a forward pass that stops at each layer and shows what goes into it
geometry    where a column lies from a query: distance, offset, within a radius
sums        weighted sums over the rows of an affinity, form by form, without its dense rows where it can be
numbers     the numbers of one layer, for each image and head
maps        chosen rows as arrays, and their file
influence   the Jacobian affinity of mixers and of blocks, at chosen positions
analysis    the units of work in order, and their rows
"""
