// What an MLP does besides its two matrix products, in single precision: the LayerNorm before it, GELU, and the residual
// after it. Tokens are rows of `width` channels.
#include "lanes.h"

namespace {

// The share of its argument that GELU(x) = x P(X < x) passes, P that of a normal variable, to 1.2e-7: 1/2 + x Q(x^2),
// where 2 Q(2 t^2) t is the error function of t. Q is of degree 15, through Chebyshev's nodes on [0, END], in its
// argument moved to [-1, 1]. Beyond END the share is 0 or 1 in single precision.
constexpr float END = 30.7328f;
constexpr int DEGREE = 15;
constexpr float Q[DEGREE + 1] = {
    0.127539722f, -0.0636779928f, 0.0474061487f, -0.0386016148f, 0.0320291838f, -0.0261593766f,
    0.0206566493f, -0.0154098841f, 0.0104684373f, -0.00693583015f, 0.00507119378f, -0.00288870206f,
    0.000643583991f, -0.000369561573f, 0.000752311475f, -0.000332082773f};

inline float passed(float x) {
  const float square = x * x, u = (square > END ? END : square) * (2 / END) - 1;
  float y = Q[DEGREE];
#pragma GCC unroll 16
  for (int i = DEGREE - 1; i >= 0; --i) y = y * u + Q[i];
  y = y * x + 0.5f;
  y = y > 1 ? 1.0f : y;
  return y < 0 ? 0.0f : y;
}

using V = Lanes<float>;
constexpr Int L = LANES<float>;

inline V load(const float* x) { return *reinterpret_cast<const V*>(x); }

inline float sum_of(const V& v) {
  float values[L];
  *reinterpret_cast<V*>(values) = v;
  return total<float, L>(values);
}

// Of N tokens, so that none waits for another's sums
template <int N>
void layer_norm(const float* x, const float* weight, const float* bias, float* y, float eps, Int width) {
  const Int whole = width / L * L;
  V sums[N] = {};
  float mean[N], scale[N];
  for (Int c = 0; c < whole; c += L)
    for (int n = 0; n < N; ++n) sums[n] += load(x + n * width + c);
  for (int n = 0; n < N; ++n) {
    float sum = sum_of(sums[n]);
    for (Int c = whole; c < width; ++c) sum += x[n * width + c];
    mean[n] = sum / float(width);
    sums[n] = V{};
  }
  for (Int c = 0; c < whole; c += L)
    for (int n = 0; n < N; ++n) {
      const V from_mean = load(x + n * width + c) - mean[n];
      sums[n] += from_mean * from_mean;
    }
  for (int n = 0; n < N; ++n) {
    float sum = sum_of(sums[n]);
    for (Int c = whole; c < width; ++c) sum += (x[n * width + c] - mean[n]) * (x[n * width + c] - mean[n]);
    scale[n] = 1 / std::sqrt(sum / float(width) + eps);
  }
  for (Int c = 0; c < whole; c += L) {
    const V by = load(weight + c), plus = load(bias + c);
    for (int n = 0; n < N; ++n) {
      const V normed = (load(x + n * width + c) - mean[n]) * scale[n] * by + plus;
      *reinterpret_cast<V*>(y + n * width + c) = normed;
    }
  }
  for (Int c = whole; c < width; ++c)
    for (int n = 0; n < N; ++n) y[n * width + c] = (x[n * width + c] - mean[n]) * scale[n] * weight[c] + bias[c];
}

void layer_norms(const float* x, const float* weight, const float* bias, float* y, float eps, Int rows, Int width,
                 int threads) {
  constexpr Int N = 4;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int first = 0; first < rows; first += N) {
    if (first + N <= rows) {
      layer_norm<N>(x + first * width, weight, bias, y + first * width, eps, width);
    } else {
      for (Int row = first; row < rows; ++row)
        layer_norm<1>(x + row * width, weight, bias, y + row * width, eps, width);
    }
  }
}

// y = GELU(y + bias)
void add_gelu(float* y, const float* bias, Int rows, Int width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int row = 0; row < rows; ++row) {
    float* to = y + row * width;
#pragma omp simd
    for (Int c = 0; c < width; ++c) {
      const float given = to[c] + bias[c];
      to[c] = given * passed(given);
    }
  }
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
  layer_norms(x, weight, bias, y, float(eps), z[0], z[1], threads);
}
extern "C" void add_gelu_float32(float* y, const float* bias, const Int* z, int threads) {
  add_gelu(y, bias, z[0], z[1], threads);
}
extern "C" void add_scaled_float32(const float* x, const float* y, const float* bias, const float* scale, float* out,
                                   const Int* z, int threads) {
  add_scaled(x, y, bias, scale, out, z[0], z[1], threads);
}
