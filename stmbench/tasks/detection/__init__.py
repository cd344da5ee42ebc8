"""Boxes, and masks where the detector has them, of the objects in an image.

data        both splits of a set        detecting    detections of a whole set        task    model, loss, AP
"""
