"""Plug-ins: a user's own mixers, models and analyses, in a file, a folder or an installed package.

    loading   `load_plugin`, `load_plugins`, installed entry points; what each plug-in registered, and its hash
    sources   the files of a plug-in, hashed together, and how it imports those beside it
    models    the timm models that plug-ins registered

    plugin = load_plugin("my_mixer.py")
    plugin.registered      # {"mixer": ("strip_conv",)}; timm's models are of the kind "timm model"
    plugin.sha256          # of all its files

A plug-in is code, so only files that the user named, and packages that the user installed, are run.
"""

from stmbench.plugins.loading import (
    GROUPS,
    Plugin,
    PluginWarning,
    load_entry_points,
    load_plugin,
    load_plugins,
    loaded_paths,
    sha256_of,
    unload_plugins,
)
from stmbench.plugins.models import TIMM_MODEL, timm_models
from stmbench.plugins.sources import carried_files

__all__ = [
    "GROUPS",
    "TIMM_MODEL",
    "Plugin",
    "PluginWarning",
    "carried_files",
    "load_entry_points",
    "load_plugin",
    "load_plugins",
    "loaded_paths",
    "sha256_of",
    "timm_models",
    "unload_plugins",
]
