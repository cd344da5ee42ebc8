"""What a network is trained and judged for: how a batch is made, which head, which loss, how a validation runs.

base              the interface of a task, its data and its scores; the task of a model
colours           changes of colours, for a batch on its device
classification/   images with one label each
detection/        images with boxes and masks
dino/             self-distillation without labels
"""
