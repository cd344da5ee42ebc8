"""The definition that stands in each section: in words, as formulas, with its source. docs/definitions has the rest."""

from __future__ import annotations

from typing import Final

from stmbench.reporting.content import Definition, Formula

PROFILE: Final = Definition(
    text="Every model runs once in each round, in a fresh random order, beside a fixed probe workload. Rounds in which "
    "the probe is an outlier are dropped, whatever the models did in them. A ratio is taken within rounds, and its "
    "95 % interval comes from resampling blocks of these. MACs are multiply-adds of convolutions, linear layers, "
    "matrix products (attention included, fused or not) and bilinear sampling for one image; norms, activations and "
    "pooling are not in them.",
    formulas=(
        Formula(quantity="throughput ratio of a to b", equals="exp( median over rounds r of ln( t_b(r) / t_a(r) ) )"),
        Formula(quantity="probability of rank k", equals="share of bootstrap resamples in which the model is k-th"),
        Formula(quantity="MACs of a bilinear sample", equals="5 per channel (4 to interpolate, 1 for its weight)"),
        Formula(quantity="achieved rate", equals="MACs × images / s;  of peak: achieved rate / the probe's rate"),
    ),
    source="Interleaved measurement and paired ratios are ours; roofline: Williams et al. 2009; bootstrap: Efron 1979",
    page="docs/profile.md, docs/counting.md",
)
TRAINING: Final = Definition(
    text="Every run follows its recipe from weights drawn by its seed; the order of images and all augmentation are "
    "functions of the seed and the place in the run. The result is the last epoch's, or the average of weights where "
    "the recipe keeps one: no epoch is chosen by its accuracy.",
    formulas=(
        Formula(quantity="learning rate at batch B", equals="lr · B / B₀ after a linear warm-up, then a cosine"),
        Formula(quantity="accuracy", equals="(1/N) Σᵢ [argmax zᵢ = yᵢ], every image of the held-out split once"),
    ),
    source="Goyal et al. 2017 (linear scaling); recipes: Hu et al., Gao et al., Li et al.; interval: Wilson 1927",
    page="docs/training.md",
)
EVALUATION: Final = Definition(
    text="Each image goes through the model's own preprocessing and one forward pass in eval mode. For image i of N "
    "with label yᵢ, logits z and p = softmax(z) in float64; rankᵢ is the number of classes put before the label.",
    formulas=(
        Formula(quantity="accuracy", equals="(1/N) Σᵢ [rankᵢ < 1];  top-5: [rankᵢ < 5]"),
        Formula(quantity="calibration error", equals="Σₘ (|Bₘ| / N) · |acc(Bₘ) − conf(Bₘ)|, 15 bins of equal width"),
        Formula(quantity="NLL", equals="(1/N) Σᵢ −ln p(yᵢ)"),
        Formula(quantity="Brier score", equals="(1/N) Σᵢ Σₖ (pₖ − [k = yᵢ])²"),
    ),
    source="Guo et al. 2017, eq. 3 (calibration); Brier 1950; intervals: Wilson 1927 (accuracy), resampled images",
    page="docs/definitions/evaluation.md",
)
ERF: Final = Definition(
    text="Which pixels the central unit u of a stage depends on: the gradient G of the sum over channels of ReLU(u) to "
    "the normalised input, its magnitude at each pixel, averaged over images. The square is centred where the unit "
    "is, which follows from the strides, kernels and paddings before it, not on the image.",
    formulas=(
        Formula(quantity="M(y, x)", equals="mean over images of √( Σ_c G_c(y, x)² )"),
        Formula(quantity="ERF@p", equals="s / √(H·W), s the least side of a square with Σ_square M ≥ p % of Σ M"),
    ),
    source="Luo et al. 2016; Hu et al., section 6.1, Figs. 5 and 6; intervals: resampled images",
    page="docs/definitions/erf.md",
)
INVARIANCE: Final = Definition(
    text="Whether a prediction stays when the image is moved, turned or scaled. Image i has label yᵢ, logits f(x) "
    "untransformed and f(x_t) at level t. Consistency rises with accuracy, so it is also given on the images that are "
    "right untransformed. The area is the mean over the range of levels, by trapezoids.",
    formulas=(
        Formula(quantity="consistency(t)", equals="(1/N) Σᵢ [argmax f(x_t) = argmax f(x)]"),
        Formula(quantity="where right", equals="the same over the images with argmax f(x) = yᵢ"),
        Formula(quantity="accuracy(t)", equals="(1/N) Σᵢ [argmax f(x_t) = yᵢ]"),
        Formula(quantity="soft cross-entropy(t)", equals="(1/N) Σᵢ −Σₖ pₖ ln qₖ, p and q the softmax of f(x), f(x_t)"),
    ),
    source="Zhang 2019; Hu et al., section 6.2 and Fig. 7; intervals: Wilson 1927, areas Agresti and Coull 1998",
    page="docs/definitions/invariance.md",
)
ROBUSTNESS: Final = Definition(
    text="What is left of the accuracy when an adversary who knows the model may change every pixel by at most eps, on "
    "the scale of pixels in [0, 1]; normalisation is inside the attacked model. A set without labels has none to lose: "
    "there the model's own clean prediction is attacked and what is left of it is called consistency.",
    formulas=(
        Formula(quantity="FGSM", equals="x′ = clamp(x + eps · sign(∂CE(f(x), y) / ∂x), 0, 1)"),
        Formula(quantity="accuracy(eps)", equals="(1/N) Σᵢ [argmax f(x′ᵢ) = yᵢ], with Wilson's score interval"),
        Formula(
            quantity="McNemar's p",
            equals="min(1, 2·P(Binomial(b + c, ½) ≤ min(b, c))), b and c: images one model alone gets right",
        ),
    ),
    source="Goodfellow et al. 2015; Madry et al. 2018; Croce and Hein 2020; Hu et al., section 6.3 and Fig. 8; "
    "Wilson 1927; McNemar 1947; Holm 1979",
    page="docs/definitions/robustness.md",
)
AFFINITY: Final = Definition(
    text="Where each output position q of a mixer looks. A mixer is written Y = project(A(X) · values(X)); row a of A "
    "holds the weight of every value token k. Numbers are taken of every layer, head and output position, with "
    "p the row's share of weight and r positions in pixels of the input.",
    formulas=(
        Formula(quantity="p_k", equals="|a_k| / Σ_j |a_j|, padding left out"),
        Formula(quantity="attention distance", equals="Σ_k p_k ‖r_k − r_q‖"),
        Formula(quantity="entropy", equals="−Σ_k p_k log₂ p_k"),
        Formula(quantity="weight within R", equals="Σ p_k over ‖r_k − r_q‖ ≤ R tokens"),
        Formula(quantity="centroid offset", equals="‖Σ_k p_k (r_k − r_q)‖"),
    ),
    source="Gao et al. 2021, eq. 1 and 2, Fig. 1; Dosovitskiy et al. 2021, section 4.5; Raghu et al. 2021, section 4",
    page="docs/definitions/affinity.md",
)
