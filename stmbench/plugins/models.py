"""The models that plug-ins register with timm (`@timm.models.register_model`). timm is not imported for this."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stmbench.errors import PluginError

TIMM_MODEL = "timm model"
Builders = Mapping[str, Callable[..., Any]]
MODELS: dict[str, str | None] = {}  # name -> SHA-256 of the plug-in


def timm_models() -> list[str]:
    """Names of the timm models that plug-ins registered."""
    return list(MODELS)


def builders() -> Builders:
    """timm's models by name; none as long as timm is not imported."""
    if "timm" not in sys.modules:
        return {}
    from timm.models import list_models, model_entrypoint

    return {name: model_entrypoint(name) for name in list_models()}


@contextmanager
def recorded_models(source: str) -> Iterator[list[str]]:
    """Names that are registered with timm while the block runs, by others than timm and stmbench.

    Raises:
        PluginError: a name that was taken. Whatever the block raises, timm's registry is as it was before.
    """
    before, names = builders(), list[str]()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Overwriting .* in registry")  # refused below
            yield names
        after = builders()
        new = [name for name in after if after[name] is not before.get(name) and _is_foreign(after[name])]
        taken = [name for name in new if name in before]
        if taken:
            got = f"{source}: the timm model {taken[0]!r} is registered already"
            raise PluginError("a model name that is free", got, "rename the function")
        names += new
    except BaseException:
        restore(before)
        raise


def models_of(module: str) -> list[str]:
    """Names of the timm models that a module, or a module of that package, has registered."""
    return [name for name, build in builders().items() if f"{build.__module__}.".startswith(f"{module}.")]


def restore(before: Builders) -> None:
    """Forget the models of others that were registered since, and bring back those that they replaced."""
    changed = [name for name, build in builders().items() if build is not before.get(name) and _is_foreign(build)]
    for name in changed:
        remove(name)
        if name in before:
            from timm.models import register_model

            register_model(before[name])


def remove(name: str) -> None:
    """Forget a model of timm's registry, which has no function for it."""
    from timm.models import _registry

    module = _registry._model_to_module.pop(name, None)
    if module is not None:
        _registry._module_to_models[module].discard(name)
    for table in ("_model_entrypoints", "_model_default_cfgs", "_model_pretrained_cfgs", "_model_with_tags"):
        getattr(_registry, table, {}).pop(name, None)
    getattr(_registry, "_model_has_pretrained", set()).discard(name)


def _is_foreign(build: Callable[..., Any]) -> bool:
    return not build.__module__.startswith(("timm.", "stmbench."))
