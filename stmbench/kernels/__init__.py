"""Optional fast paths of mixers and detectors: C++ kernels for a CPU, compiled at their first use where there is a
compiler, and Triton kernels for CUDA, which run with STMBENCH_KERNELS=all.

Each is tested against the plain code, which runs wherever a kernel cannot: without a compiler, on other devices,
in traces and exports, and with STMBENCH_KERNELS=off. A profile's rows say which kernels ran (metric `kernel_calls`).

setting         what STMBENCH_KERNELS asks for, whether kernels can run, and how often each did
library         compiles and loads them, and calls their functions
operators       makes operators of PyTorch of them
gradients       when backward passes of kernels may run, and what stands in for them
sums            weighted sums of bilinear samples, and over neighbourhoods
triton_sums     the same sums on CUDA
halo            the tokens around windows
halo_attention  halo attention in inference, in one pass
softmax         softmaxes with terms of rows and columns, or with a bias
deformable_conv deformable convolution v3 in inference, with its layers
window_attention  attention within shifted windows in inference, with its layers
contextual      contextual (CoT) blocks in inference, with their layers
mlp             an MLP with its norm and its residual, in inference
mlp_training    the same with a gradient
residual        the end of a residual branch, with a gradient
mix             two maps mixed by shares of each channel, with a gradient
patches         convolutions with many weights as products of matrices
stem            the start of a stem in inference, in one pass
linear          a linear layer in inference, for kernels that hold one
depthwise       depthwise convolutions
branches        depthwise convolutions of several shapes at once, each of a part of the channels
fourier         real Fourier transforms over maps
roi_align       regions cut out of a detector's maps
norm            the norm of many tensors together
group_norm      GroupNorm of a detector's maps, with the ReLU after it
cpp             their source
"""
