"""Analyses: one folder each, registered by one entry, and what they share.

registry                                    entries, metrics (those of several analyses too), views
options                                     options of an analysis, from which commands come
base, unit                                  bookkeeping, units of work, reports
images                                      analyses that show images to models
detector_analysis                           analyses that show images with objects to detectors
models, loaded_model                        models by name, with weights and the classes of their outputs
match, match_widths                         --match: mixers of equal cost
stages, feature_maps, feature_layouts       maps of stages, after blocks and around mixers, in any layout
conformance                                 what `stmbench check` demands of an analysis

The analyses: train, profile, eval, probe, detection, erf, invariance, box_consistency, corruption, robustness,
frequency, similarity, affinity.
"""
