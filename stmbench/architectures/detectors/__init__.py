"""Detectors around any backbone, in torchvision's calling convention.

base           the registry of detectors, `DetectorConfig`, and how `<kind>:<backbone>` is built
trunk          a classification model as the trunk of a detector; loading its classification weights
pyramid        the feature pyramid on a trunk's maps
regions        anchors, proposals and the cutting of regions, as torchvision has them and as MMDetection does
region_heads   the heads on regions, in one stage or a cascade
region_based   Faster, Mask, Cascade and Cascade Mask R-CNN
retinanet      RetinaNet
set_prediction what detectors that predict a set of boxes have around a transformer
detr           DETR and Deformable DETR
smca           SMCA: DETR with a place for each query
pieces         a detector in pieces whose costs can be counted
"""
