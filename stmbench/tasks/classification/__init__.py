"""Images with one label each.

data      both splits of a set        images    augmented training images        task    model, loss, accuracy
"""
