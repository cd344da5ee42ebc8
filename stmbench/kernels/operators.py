"""Operators of PyTorch that are written in Python, as `torch.library.custom_op` makes them.

That one imports PyTorch's compiler when an operator is called for the first time: a second, and 150 MB. Here the
compiler is imported when something is compiled. An operator is made by `operator` and finished by `describe`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final, NoReturn

import torch
from torch import Tensor

EVERYWHERE: Final = "default"  # on every device, by the same code


def operator(name: str, *, device: str = EVERYWHERE, schema: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that makes a function the operator `stmbench::name`, and gives what calls it.

    Args:
        name: of the operator.
        device: where the function runs, "cpu" or "cuda".
        schema: its arguments and results; read from the annotations where it is None. It changes no argument.
    """

    def define(function: Callable[..., Any]) -> Any:
        qualified = f"stmbench::{name}"
        given = schema or _schema(function)
        torch.library.define(qualified, given, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(qualified, device)(function)
        return getattr(torch.ops.stmbench, name).default

    return define


def _schema(function: Callable[..., Any]) -> str:
    """By the annotations; of lists PyTorch before 2.6 reads `typing.List` alone."""

    def read(annotation: Any) -> Any:
        is_list = typing.get_origin(annotation) is list
        return typing.List[typing.get_args(annotation)] if is_list else annotation  # type: ignore[misc]  # noqa: UP006

    def prototype() -> None: ...

    signature = inspect.signature(function, eval_str=True)
    parameters = [each.replace(annotation=read(each.annotation)) for each in signature.parameters.values()]
    prototype.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=read(signature.return_annotation)
    )
    return torch.library.infer_schema(prototype, mutates_args=())


def describe(
    made: Any,
    *,
    shapes: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    keep: Callable[..., None] | None = None,
) -> None:
    """Say what compiled graphs and autograd need to know of an operator.

    Args:
        made: what `operator` gave.
        shapes: its results for its arguments, not filled.
        gradient: as `torch.library.register_autograd` takes it. Without one, differentiating the operator is an error:
            PyTorch alone would warn and give zeros.
        keep: what the gradient needs, as `setup_context` there.
    """

    def refuse() -> NoReturn:
        passes = ("at most one", "two") if "_backward" in str(made) else ("no", "one")
        raise RuntimeError(f"{made} has no derivative: expected {passes[0]} backward pass through it, got {passes[1]}")

    def setup(ctx: Any, **given: Any) -> None:
        ctx.set_materialize_grads(False)
        output = given["output"]
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        ctx.made = [(each.shape, {"dtype": each.dtype, "device": each.device}) for each in outputs]
        if keep is not None:
            keep(ctx=ctx, **given)

    def differentiate(ctx: Any, *gradients: Tensor | None) -> Any:
        # as PyTorch's own operators: what has no gradient passes none on. Zeros an optimizer would apply.
        if all(each is None for each in gradients):
            return tuple([None] * len(each) if isinstance(each, list) else None for each in ctx.needs_input_grad)
        if gradient is None:
            refuse()
        filled = zip(gradients, ctx.made, strict=True)
        return gradient(ctx, *(torch.zeros(shape, **kind) if each is None else each for each, (shape, kind) in filled))

    torch.library.register_fake(made, shapes)
    torch.library.register_autograd(made, differentiate, setup_context=setup)
