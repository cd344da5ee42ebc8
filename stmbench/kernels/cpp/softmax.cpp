// Softmax over keys whose logits have something added to them: a term of the key's row and one of its column, or a bias
// that many maps share.
#include "shares.h"

namespace {

// softmax over keys (i, j) of scale logits[row, i, j] + vertical[row, i] + horizontal[row, j]; a line of `across` keys
// is taken W at a time, W >= across: what is too much belongs to the next line
template <typename T, int W>
void relative(const T* logits, const T* vertical, const T* horizontal, T* out, Int rows, Int down, Int across, T scale,
              int threads) {
  const Int keys = down * across, width = W ? W : across;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> given(whole_blocks(keys) + 64), sums(whole_blocks(keys) + 64), shares(whole_blocks(keys));
    std::vector<T> terms(width);
#pragma omp for schedule(static)
    for (Int row = 0; row < rows; ++row) {
      const T *l = given.data(), *v = vertical + row * down, *h = terms.data();
      T *x = sums.data(), *p = shares.data();
      std::copy(logits + row * keys, logits + (row + 1) * keys, given.data());
      std::copy(horizontal + row * across, horizontal + (row + 1) * across, terms.data());
      for (Int i = 0; i < down; ++i) {
        const T term = v[i];
#pragma omp simd
        for (Int j = 0; j < width; ++j) x[i * across + j] = scale * l[i * across + j] + term + h[j];
      }
      std::fill(x + keys, x + whole_blocks(keys), -std::numeric_limits<T>::infinity());
      normalise(x, p, keys);
      std::copy(p, p + keys, out + row * keys);
    }
  }
}

// of[i] = the gradient of logit i without its scale
template <typename T>
void of_softmax(const T* p, const T* g, T* of, Int keys) {
  T mean = 0;
#pragma omp simd reduction(+ : mean)
  for (Int i = 0; i < keys; ++i) mean += p[i] * g[i];
#pragma omp simd
  for (Int i = 0; i < keys; ++i) of[i] = p[i] * (g[i] - mean);
}

template <typename T, int W>
void relative_backward(const T* shares, const T* gradient, T* of_logits, T* of_vertical, T* of_horizontal, Int rows,
                       Int down, Int across, T scale, int threads) {
  const Int keys = down * across, width = W ? W : across;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> room(whole_blocks(keys) + 64), columns(width), own(width);
    for (Int j = 0; j < width; ++j) own[j] = j < across;
#pragma omp for schedule(static)
    for (Int row = 0; row < rows; ++row) {
      const T* mine = own.data();
      T *of = room.data(), *oh = columns.data(), *ov = of_vertical + row * down;
      of_softmax(shares + row * keys, gradient + row * keys, of, keys);
      std::fill(columns.begin(), columns.end(), T(0));
      for (Int i = 0; i < down; ++i) {
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Int j = 0; j < width; ++j) {
          const T each = of[i * across + j] * mine[j];
          oh[j] += each;
          sum += each;
        }
        ov[i] = sum;
      }
      for (Int i = 0; i < keys; ++i) of_logits[row * keys + i] = scale * of[i];
      std::copy(oh, oh + across, of_horizontal + row * across);
    }
  }
}

// logits (outer, inner, queries, keys), bias (outer or 1, inner or 1, queries, keys)
struct Shape {
  Int outer, inner, queries, keys, bias_outer, bias_inner;

  // where the bias of a map of logits begins
  Int bias(Int map) const {
    const Int i = bias_outer == 1 ? 0 : map / inner, j = bias_inner == 1 ? 0 : map % inner;
    return (i * bias_inner + j) * queries * keys;
  }
};

template <typename T>
void biased(const T* logits, const T* bias, T* out, const Shape& s, T scale, int threads) {
  const Int keys = s.keys;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> sums(whole_blocks(keys), -std::numeric_limits<T>::infinity()), shares(whole_blocks(keys));
#pragma omp for schedule(static)
    for (Int map = 0; map < s.outer * s.inner; ++map)
      for (Int query = 0; query < s.queries; ++query) {
        const Int row = map * s.queries + query;
        const T *l = logits + row * keys, *b = bias + s.bias(map) + query * keys;
        T *x = sums.data(), *p = shares.data();
#pragma omp simd
        for (Int i = 0; i < keys; ++i) x[i] = scale * l[i] + b[i];
        normalise(x, p, keys);
        std::copy(p, p + keys, out + row * keys);
      }
  }
}

// A thread has whole rows of the bias, whose gradient is a sum over the maps that share it.
template <typename T>
void biased_backward(const T* shares, const T* gradient, T* of_logits, T* of_bias, const Shape& s, T scale,
                     int threads) {
  const Int keys = s.keys, maps_outer = s.outer / s.bias_outer, maps_inner = s.inner / s.bias_inner;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> room(keys), total(keys);
#pragma omp for schedule(static)
    for (Int line = 0; line < s.bias_outer * s.bias_inner * s.queries; ++line) {
      const Int query = line % s.queries, i = line / s.queries / s.bias_inner, j = line / s.queries % s.bias_inner;
      T *of = room.data(), *sum = total.data();
      std::fill(total.begin(), total.end(), T(0));
      for (Int a = 0; a < maps_outer; ++a)
        for (Int c = 0; c < maps_inner; ++c) {
          const Int at = (((i + a) * s.inner + j + c) * s.queries + query) * keys;
          of_softmax(shares + at, gradient + at, of, keys);
#pragma omp simd
          for (Int k = 0; k < keys; ++k) {
            sum[k] += of[k];
            of_logits[at + k] = scale * of[k];
          }
        }
      std::copy(sum, sum + keys, of_bias + line * keys);
    }
  }
}

#define BY_WIDTH(FUNCTION, ...)                       \
  if (across <= 8) FUNCTION<T, 8>(__VA_ARGS__);       \
  else if (across <= 16) FUNCTION<T, 16>(__VA_ARGS__);\
  else if (across <= 32) FUNCTION<T, 32>(__VA_ARGS__);\
  else FUNCTION<T, 0>(__VA_ARGS__);

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void relative_softmax_##NAME(const TYPE* logits, const TYPE* vertical, const TYPE* horizontal, TYPE* out,\
                                          double scale, const Int* z, int threads) {                                  \
    using T = TYPE;                                                                                                   \
    const Int across = z[2];                                                                                          \
    BY_WIDTH(relative, logits, vertical, horizontal, out, z[0], z[1], across, T(scale), threads)                      \
  }                                                                                                                   \
  extern "C" void relative_softmax_backward_##NAME(const TYPE* shares, const TYPE* gradient, TYPE* of_logits,         \
                                                   TYPE* of_vertical, TYPE* of_horizontal, double scale,              \
                                                   const Int* z, int threads) {                                       \
    using T = TYPE;                                                                                                   \
    const Int across = z[2];                                                                                          \
    BY_WIDTH(relative_backward, shares, gradient, of_logits, of_vertical, of_horizontal, z[0], z[1], across,          \
             T(scale), threads)                                                                                       \
  }                                                                                                                   \
  extern "C" void biased_softmax_##NAME(const TYPE* logits, const TYPE* bias, TYPE* out, double scale, const Int* z,  \
                                        int threads) {                                                                \
    biased(logits, bias, out, Shape{z[0], z[1], z[2], z[3], z[4], z[5]}, TYPE(scale), threads);                       \
  }                                                                                                                   \
  extern "C" void biased_softmax_backward_##NAME(const TYPE* shares, const TYPE* gradient, TYPE* of_logits,           \
                                                 TYPE* of_bias, double scale, const Int* z, int threads) {            \
    biased_backward(shares, gradient, of_logits, of_bias, Shape{z[0], z[1], z[2], z[3], z[4], z[5]}, TYPE(scale),     \
                    threads);                                                                                         \
  }

ENTRY(float32, float)
ENTRY(float64, double)
