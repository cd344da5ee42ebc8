"""Backbones that any mixer plugs into, and models by name.

base                 the registries of architectures and of named models, and how options make a backbone
catalog              `create_model`, `list_models`
listing              what lists and plans need to know of the registries, without importing a model
model_names          `<architecture>_<mixer>_<scale>[option=value]`, parsed
unified              the unified architecture of Hu et al.
container            CONTAINER's architecture, and container_v1_light
cotnet               CoTNet's architecture (a ResNet with its bottlenecks), and the authors' models
cotnet_config        its options and networks
detectors            detectors around any of them: `<kind>:<backbone>`
feature_extractor    networks without their classifier: images -> pooled features
isotropic            one width and one resolution, in DeiT's shape
backbone             what all architectures share: `Backbone` and `BackboneConfig`
blocks               residual blocks around a mixer, and the stage that holds them
layers               channels-last convolutions, norms, stems, transitions and heads
given_models         modules given as objects, behind a name with a hash of their code and weights
module_copies        copies of such a module that work like our own models; `GivenModel`
input_config         the images that such a module expects
conformance          the checks of a plug-in's timm model
mixer_contribution   how much the mixers contribute to the residual stream
timm_registry        our names in timm's registry
timm_layers          what networks take from timm, imported when it is used
timm_hook            registers them when timm is imported
import_hooks         does something around the import of another package's module
meta_device          models without memory for their weights
without_compiler     keeps torch's compiler out of what timm and torchvision import
"""
