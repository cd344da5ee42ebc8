"""Self-distillation without labels: DINO (Caron et al. 2021).

crops        several crops of an image, and how each one's colours are to change
networks     student and teacher with their projection heads
objective    the loss, the teacher's centre, the watch for a collapse
task         how these make a training
validation   how good the teacher's features are
"""
