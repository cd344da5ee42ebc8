"""Detection sets: images with boxes, classes and masks of the objects in them.

sets               `open_detection_set`: a set by name or path
detection_set      the interface of a set, and its objects as torchvision's targets and as COCO's annotations
shapes             the embedded procedural pictures
coco               folders and files in COCO's format
coco_file          a file of annotations, checked and kept as arrays
transforms         mirrored and resized images with their boxes and masks
batches            which images to train on, in which order
torchvision_sets   Pascal VOC, and objects given from Python
run_lengths        masks and COCO's codes of them
"""
