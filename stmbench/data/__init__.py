"""Data: image sets, their selection and preprocessing, and perturbed images.

sets               `open_set`: an image set by name, or by path according to what is there
image_set          the interface of an image set; names of splits
image_folders      image files in folders: a folder per class, ImageNet's lists, labels in a CSV file
label_files        readers of lists and tables of labels
image_files        image files below a folder, without junk, and how they are decoded
shard_files        which files are the shards of a set
downloads          sets at addresses such as s3://bucket/imagenet, downloaded at their first use
tar_shards         WebDataset shards and other tar files
parquet            images and labels in Parquet files, read by row groups
hugging_face       data sets saved by `save_to_disk`
given_images       tensors, lists and loaders as image sets
embedded           the embedded sets of digits and photos
shapes/            embedded procedural pictures
class_maps         which model output a class corresponds to, and sets relabelled by such a map
image_selection    a balanced, seeded selection of images
preprocessing      from an image to a model's input
loading            batches with workers, cache and replacements
detection/         images with boxes and masks: COCO, embedded pictures
perturbations/     translation, rotation, scaling
"""
