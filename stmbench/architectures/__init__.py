"""Backbones that any mixer plugs into, and models by name.

base                 the registries of architectures and of models with published names
catalog              `create_model`, `list_models`
model_names          `<architecture>_<mixer>_<scale>[option=value]`, parsed
model_factory        a model's options, split between its backbone and its mixer
unified              the unified architecture of Hu et al.
container            CONTAINER's architecture, and container_v1_light
cotnet               CoTNet's architecture (a ResNet), and the authors' models
cotnet_config        its options and networks
bottleneck           its residual block
isotropic            one width and one resolution, in DeiT's shape
backbone             what all architectures share: `Backbone` and `BackboneConfig`
blocks               residual blocks around a mixer, and the stage that holds them
layers               channels-last convolutions, norms, stems and transitions
heads                from the last map to logits
given_models         modules given as objects, behind a name
module_options       `GivenModel`: such a module, and what is known of it
module_copies        copies of it that work like our own models
input_config         the images that such a module expects
feature_nodes        the maps of a module by nodes of its graph
fingerprints         hashes of a module's code and weights
conformance          the checks of a plug-in's timm model
mixer_contribution   how much the mixers contribute to the residual stream
timm_registry        our names in timm's registry
timm_hook            registers them when timm is imported
"""
