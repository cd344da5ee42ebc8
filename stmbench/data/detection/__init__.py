"""Detection sets: images with boxes, classes and masks of the objects in them.

sets               `open_detection_set`: a set by name or path
detection_set      the interface of a set, and its objects as torchvision's targets and as COCO's annotations
shapes             the embedded procedural pictures
run_lengths        masks as COCO's run-length codes
"""
