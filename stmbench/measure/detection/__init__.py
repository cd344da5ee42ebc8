"""Scores of detectors: COCO's average precision and recall of boxes and masks, and how certain they are.

matching           which detection meets which object, once for each image
average_precision  precision and recall of the matches, and their bootstrap over images
results            detections in COCO's format: made from a detector's output, written, read, compared across scales
"""
