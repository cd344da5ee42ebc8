"""Why gradients differ from run to run, for the registry: operations whose backward pass on CUDA adds in any order.

They are those that PyTorch names in the documentation of `torch.use_deterministic_algorithms`. A backward pass that is
made of several of them is not repeatable if one of them is not.
"""

SAMPLES = "gradients of bilinear samples are added atomically on CUDA"
COPIES = "gradients of keys and values that several queries copy are added atomically on CUDA"
POOLED = "gradients of copied keys, values and adaptively pooled maps are added atomically on CUDA"
RESIZED = "at other sizes than its own, gradients of what is resized are added atomically on CUDA"
