// What is done to the channels of tokens, which are rows of `width` numbers: LayerNorm and GELU.
#pragma once

#include "columns.h"

#ifdef __AVX__
#include <immintrin.h>
#endif

// The share of its argument that GELU(x) = x P(X < x) passes, P that of a normal variable, to 1.2e-7: 1/2 + x Q(x^2),
// where 2 Q(2 t^2) t is the error function of t. Q is of degree 15, through Chebyshev's nodes on [0, END], in its
// argument moved to [-1, 1]. Beyond END the share is 0 or 1 in single precision.
constexpr float END = 30.7328f;
constexpr int DEGREE = 15;
constexpr float Q[DEGREE + 1] = {
    0.127539722f, -0.0636779928f, 0.0474061487f, -0.0386016148f, 0.0320291838f, -0.0261593766f,
    0.0206566493f, -0.0154098841f, 0.0104684373f, -0.00693583015f, 0.00507119378f, -0.00288870206f,
    0.000643583991f, -0.000369561573f, 0.000752311475f, -0.000332082773f};

using V = Lanes<float>;
constexpr Int L = LANES<float>;

inline V filled(float x) { return V{} + x; }

// The smaller of two, and the larger; what is not a number goes on from y. The compiler has two instructions for each.
inline V smaller(V x, V y) {
#if defined(__AVX512F__)
  return _mm512_min_ps(x, y);
#elif defined(__AVX__)
  return _mm256_min_ps(x, y);
#else
  return x < y ? x : y;
#endif
}
inline V larger(V x, V y) {
#if defined(__AVX512F__)
  return _mm512_max_ps(x, y);
#elif defined(__AVX__)
  return _mm256_max_ps(x, y);
#else
  return x > y ? x : y;
#endif
}

inline V gelu_share(V x) {
  const V u = smaller(filled(END), x * x) * (2 / END) - 1;
  V y = filled(Q[DEGREE]);
#pragma GCC unroll 16
  for (int i = DEGREE - 1; i >= 0; --i) y = y * u + Q[i];
  return larger(V{}, smaller(filled(1), y * x + 0.5f));
}

inline V gelu(V x) { return x * gelu_share(x); }

// GELU of `count` numbers, in their place
inline void gelu_in_place(float* y, Int count) {
  const Int whole = count / L * L, rest = count - whole;
  for (Int c = 0; c < whole; c += L) store(y + c, gelu(load(y + c)));
  if (rest) {
    float last[L] = {};
    std::copy_n(y + whole, rest, last);
    store(last, gelu(load(last)));
    std::copy_n(last, rest, y + whole);
  }
}

// Of N tokens, so that none waits for another's sums
template <int N, typename T>
void layer_norm(const T* x, const T* weight, const T* bias, T* y, T eps, Int width) {
  using V = Lanes<T>;
  constexpr Int L = LANES<T>;
  const Int whole = width / L * L;
  V sums[N] = {};
  T mean[N], scale[N];
  for (Int c = 0; c < whole; c += L)
    for (int n = 0; n < N; ++n) sums[n] += load(x + n * width + c);
  for (int n = 0; n < N; ++n) {
    T sum = sum_of<T>(sums[n]);
    for (Int c = whole; c < width; ++c) sum += x[n * width + c];
    mean[n] = sum / T(width);
    sums[n] = V{};
  }
  for (Int c = 0; c < whole; c += L)
    for (int n = 0; n < N; ++n) {
      const V from_mean = load(x + n * width + c) - mean[n];
      sums[n] += from_mean * from_mean;
    }
  for (int n = 0; n < N; ++n) {
    T sum = sum_of<T>(sums[n]);
    for (Int c = whole; c < width; ++c) sum += (x[n * width + c] - mean[n]) * (x[n * width + c] - mean[n]);
    scale[n] = 1 / std::sqrt(sum / T(width) + eps);
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

// Of `rows` tokens.
template <typename T>
void layer_norms(const T* x, const T* weight, const T* bias, T* y, T eps, Int rows, Int width) {
  constexpr Int N = 4;
  Int row = 0;
  for (; row + N <= rows; row += N) layer_norm<N>(x + row * width, weight, bias, y + row * width, eps, width);
  for (; row < rows; ++row) layer_norm<1>(x + row * width, weight, bias, y + row * width, eps, width);
}
