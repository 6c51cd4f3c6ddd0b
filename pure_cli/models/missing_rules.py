"""Functions that need no rule, since the gradient is theirs already: all others without one are named in a warning."""

# The gradient hands on relevance as it is: they choose or move values, or are zero where it is.
PASSIVE = frozenset([
    "relu", "max_pool2d", "max_pool2d_with_indices", "boolean_dispatch", "adaptive_max_pool2d", "amax", "max",
    "maximum", "dropout", "dropout2d", "alpha_dropout", "feature_dropout", "cat", "concat", "concatenate", "stack",
    "split", "chunk", "tensor_split", "unbind", "getitem", "get", "view", "view_as", "reshape", "reshape_as",
    "flatten", "unflatten", "permute", "transpose", "movedim", "swapaxes", "t", "squeeze", "unsqueeze", "expand",
    "expand_as", "repeat", "contiguous", "clone", "detach", "pad", "roll", "select", "narrow", "index_select",
    "unfold", "flip", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "interpolate", "upsample", "to",
    "type", "type_as", "float", "double", "half", "bfloat16", "requires_grad", "size", "dim", "numel", "stride",
    "len", "shape", "dtype", "device", "is_floating_point", "is_complex", "is_contiguous", "get_device", "identity",
    "iter", "item", "data_ptr", "storage_offset", "set", "new_zeros", "new_ones", "new_empty", "zeros_like",
    "ones_like", "empty_like",
])  # fmt: skip
# The gradient is AttnLRP's rule.
LINEAR = frozenset([
    "add", "addcmul", "radd", "sub", "rsub", "neg", "linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d",
    "mean", "sum", "batch_norm", "avg_pool2d", "adaptive_avg_pool2d", "softmax", "sigmoid", "hardsigmoid",
    "masked_fill",
])  # fmt: skip


def unruled(name: str, attention: bool) -> bool:
    """Whether a function that has no rule needs one.

    Parameters
    ----------
    name : of the function
    attention : under AttnLRP, where gradients stay gradients; otherwise they are relevances
    """
    return name not in PASSIVE and not (attention and name in LINEAR)
