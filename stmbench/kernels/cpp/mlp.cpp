// What an MLP does besides its two matrix products, in single precision: the LayerNorm before it, GELU, and the residual
// after it. Tokens are rows of `width` channels.
#include "rows.h"

namespace {

void norm_rows(const float* x, const float* weight, const float* bias, float* y, float eps, Int rows, Int width,
               int threads) {
  constexpr Int N = 4;  // that do not wait for each other's sums
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int first = 0; first < rows; first += N)
    layer_norms(x + first * width, weight, bias, y + first * width, eps, std::min(N, rows - first), width);
}

void gelu_rows(float* y, const float* bias, Int rows, Int width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int row = 0; row < rows; ++row) add_gelu(y + row * width, bias, width);
}

// out = x + scale (y + bias)
void add_scaled(const float* x, const float* y, const float* bias, const float* scale, float* out, Int rows, Int width,
                int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int row = 0; row < rows; ++row) {
    const float *residual = x + row * width, *from = y + row * width;
    float* to = out + row * width;
#pragma omp simd
    for (Int c = 0; c < width; ++c) to[c] = residual[c] + scale[c] * (from[c] + bias[c]);
  }
}

}  // namespace

extern "C" void layer_norm_float32(const float* x, const float* weight, const float* bias, float* y, double eps,
                                   const Int* z, int threads) {
  norm_rows(x, weight, bias, y, float(eps), z[0], z[1], threads);
}
extern "C" void add_gelu_float32(float* y, const float* bias, const Int* z, int threads) {
  gelu_rows(y, bias, z[0], z[1], threads);
}
extern "C" void add_scaled_float32(const float* x, const float* y, const float* bias, const float* scale, float* out,
                                   const Int* z, int threads) {
  add_scaled(x, y, bias, scale, out, z[0], z[1], threads);
}
