"""What several mixers share.

attention        self-attention over all tokens, the number of heads, the query-key-value projection
windows          non-overlapping windows: padding, splitting, positions, fused attention within them
stencils         sums over the taps of a K x K neighbourhood, with shared weights or weights per position
bilinear         weighted bilinear samples of a map
static_matrix    learned N x N matrices, whole or of low rank, interpolated to other resolutions
mixing_weights   CONTAINER's alpha and beta, fixed or learned
contextual       the parts of contextual (CoT) blocks: static context, local weights, split attention
cached_tables    index tables that are computed once per size, dtype and device
"""
