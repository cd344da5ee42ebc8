"""Operations that cost no multiply-adds, by name. A count fails on operations that are not here and have no handle."""

from __future__ import annotations


def _named(namespace: str, names: str) -> set[str]:
    return {f"{namespace}::{name}" for name in names.split()}


# return (some of) the elements of their first argument, possibly in another order, shape or type
REARRANGING = _named(
    "aten",
    """
    alias chunk clone contiguous detach expand expand_as flatten flip index_select mT movedim moveaxis narrow numpy_T
    permute reshape reshape_as roll select slice split split_with_sizes squeeze swapaxes swapdims t to transpose type_as
    unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as
    """,
)
_MEMORY = _named(
    "aten",
    """
    arange as_strided as_tensor block_diag broadcast_tensors broadcast_to cat channel_shuffle col2im column_stack concat
    concatenate constant_pad_nd copy diag_embed diagonal dstack embedding empty empty_like eye fill full full_like
    gather hstack im2col index index_add index_copy index_fill index_put lift_fresh linspace masked_fill masked_scatter
    masked_select meshgrid native_channel_shuffle new_empty new_full new_ones new_tensor new_zeros one_hot ones
    ones_like pad pixel_shuffle pixel_unshuffle rand rand_like randn randn_like reflection_pad1d reflection_pad2d repeat
    repeat_interleave replication_pad1d replication_pad2d rot90 scalar_tensor scatter scatter_add stack take_along_dim
    tensor tensor_split tile tril triu upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact2d vstack where zero zeros zeros_like
    """,
)
_ELEMENTWISE = _named(
    "aten",
    """
    __and__ __or__ abs addcdiv alpha_dropout bernoulli bitwise_and bitwise_not bitwise_or bucketize ceil
    clamp clamp_max clamp_min clip complex conj cos cumsum div divide dropout eq exp exp2 expm1 feature_dropout floor
    floor_divide fmod frac ge greater gt imag isfinite isinf isnan le less lerp log log10 log1p log2 logical_and
    logical_not logical_or lt maximum minimum mul multiply nan_to_num ne neg polar pow real reciprocal remainder
    resolve_conj round rsqrt sign sin sqrt square subtract true_divide view_as_complex view_as_real
    """,
)
_REDUCTIONS = _named(
    "aten",
    """
    all amax amin any argmax argmin argsort frobenius_norm linalg_norm linalg_vector_norm logsumexp max median min norm
    prod sort std std_mean topk var var_mean
    """,
)
# elementwise operations that multiply, divide or exponentiate: free, but reported as a fraction of all multiplications
_MULTIPLYING = """
    addcdiv addcmul cos div divide exp exp2 expm1 lerp log log10 log1p log2 mul multiply polar pow reciprocal rsqrt sin
    sqrt square true_divide
"""
MULTIPLYING = _named("aten", _MULTIPLYING) | {f"{name}_" for name in _named("aten", _MULTIPLYING)}
# sizes and the like, which a trace computes along the way
_NUMBERS = _named(
    "aten",
    """
    Bool Float FloatImplicit Int IntImplicit ScalarImplicit __getitem__ append device dim is_floating_point item len
    numel size storage_offset stride
    """,
)
# excluding branches, loops and calls, whose bodies would not be counted
_STRUCTURE = _named(
    "prim",
    """
    Constant ConstantChunk DictConstruct GetAttr ListConstruct ListUnpack NumToTensor TupleConstruct TupleIndex
    TupleUnpack device dtype layout shape
    """,
)
_OPERATIONS = REARRANGING | _MEMORY | _ELEMENTWISE | _REDUCTIONS | _NUMBERS
FREE: set[str] = _OPERATIONS | {f"{name}_" for name in _OPERATIONS} | _STRUCTURE


def register_free(*operations: str) -> None:
    """Declare that operations, named as in a trace, cost no multiply-adds."""
    FREE.update(operations)
