"""Data: image sets, their selection and preprocessing, and perturbed images.

sets               `open_set`: an image set by name or path
image_set          the interface of an image set; names of splits
dataset_detection  which kind of data set is at a path
image_folders      image files in folders, ImageNet's lists
label_table        folders with labels in a CSV file
label_files        readers of lists and tables of labels
file_discovery     files below a folder, without junk
tar_shards         WebDataset shards and other tar files
hugging_face       data sets saved by `save_to_disk`
given_images       tensors, lists and loaders as image sets
digits, photos     embedded data sets
shapes/            embedded procedural pictures
class_maps         which model output a class corresponds to
mapped_set         a set relabelled by such a map
image_selection    a balanced, seeded selection of images
decoding           image files to 8-bit RGB
preprocessing      from an image to a model's input
loading            batches with workers, cache and replacements
perturbations/     translation, rotation, scaling: one file each
"""
