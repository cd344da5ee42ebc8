"""Detectors around any backbone, in torchvision's calling convention.

base           the registry of detectors, `DetectorConfig`, and how `<kind>:<backbone>` is built
trunk          a classification model as the trunk of a detector; loading its classification weights
pyramid        the feature pyramid on a trunk's four maps
region_based   Faster R-CNN and Mask R-CNN
retinanet      RetinaNet
"""
