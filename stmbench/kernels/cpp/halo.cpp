// Halo attention: the tokens around every window, and a softmax whose logits have a term of the key's row and one of its
// column. kv (B, H, W, heads, 2, depth); keys and values (B * windows, heads, reach^2, depth), zero outside the map.
#include "entry.h"

namespace {

struct Shape {
  Int batch, height, width, heads, depth, window, before, reach;

  Int down() const { return height / window; }
  Int across() const { return width / window; }
  Int token() const { return 2 * heads * depth; }
};

template <typename T>
void gather(const T* kv, T* keys, T* values, const Shape& s, int threads) {
  const Int windows = s.down() * s.across(), d = s.depth;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int job = 0; job < s.batch * windows * s.heads; ++job) {
    const Int w = job / s.heads, top = w % windows / s.across() * s.window - s.before;
    const Int left = w % s.across() * s.window - s.before;
    const T* image = kv + w / windows * s.height * s.width * s.token() + job % s.heads * 2 * d;
    T *k = keys + job * s.reach * s.reach * d, *v = values + job * s.reach * s.reach * d;
    for (Int y = top; y < top + s.reach; ++y)
      for (Int x = left; x < left + s.reach; ++x, k += d, v += d) {
        if (y < 0 || y >= s.height || x < 0 || x >= s.width) {
          std::fill(k, k + d, T(0));
          std::fill(v, v + d, T(0));
        } else {
          const T* from = image + (y * s.width + x) * s.token();
          std::copy(from, from + d, k);
          std::copy(from + d, from + 2 * d, v);
        }
      }
  }
}

// Every token's gradient is the sum over the windows that it is in. A thread has whole rows of the map.
template <typename T>
void fold(const T* of_keys, const T* of_values, T* of_kv, const Shape& s, int threads) {
  const Int d = s.depth, token = s.token();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int line = 0; line < s.batch * s.height; ++line) {
    const Int image = line / s.height, y = line % s.height;
    T* row = of_kv + line * s.width * token;
    std::fill(row, row + s.width * token, T(0));
    for (Int a = 0; a < s.down(); ++a) {
      const Int i = y - (a * s.window - s.before);  // the row within the window's keys
      if (i < 0 || i >= s.reach) continue;
      for (Int c = 0; c < s.across(); ++c) {
        const Int left = c * s.window - s.before, first = std::max<Int>(0, -left);
        const Int last = std::min(s.reach, s.width - left);
        for (Int head = 0; head < s.heads; ++head) {
          const Int window = (image * s.down() + a) * s.across() + c;
          const Int at = (((window * s.heads + head) * s.reach + i) * s.reach + first) * d;
          const T *k = of_keys + at, *v = of_values + at;
          T* to = row + (left + first) * token + head * 2 * d;
          for (Int j = first; j < last; ++j, k += d, v += d, to += token) {
            for (Int e = 0; e < d; ++e) to[e] += k[e];
            for (Int e = 0; e < d; ++e) to[d + e] += v[e];
          }
        }
      }
    }
  }
}

// The vector loops below run over whole blocks: a row of keys is copied to a buffer with room for one more block, and
// a line of `across` keys is taken W at a time, W >= across; what is too much belongs to the next line.
// softmax over keys (i, j) of scale logits[row, i, j] + vertical[row, i] + horizontal[row, j]
template <typename T, int W>
void softmax(const T* logits, const T* vertical, const T* horizontal, T* out, Int rows, Int down, Int across,
             T scale, int threads) {
  const Int keys = down * across, blocks = whole_blocks(keys), width = W ? W : across;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> given(blocks + 64), shares(blocks + 64), terms(width);
#pragma omp for schedule(static)
    for (Int row = 0; row < rows; ++row) {
      const T *l = given.data(), *v = vertical + row * down, *h = terms.data();
      T* p = shares.data();
      std::copy(logits + row * keys, logits + (row + 1) * keys, given.data());
      std::copy(horizontal + row * across, horizontal + (row + 1) * across, terms.data());
      for (Int i = 0; i < down; ++i) {
        const T term = v[i];
#pragma omp simd
        for (Int j = 0; j < width; ++j) p[i * across + j] = scale * l[i * across + j] + term + h[j];
      }
      for (Int i = keys; i < blocks; ++i) p[i] = p[0];
      T most[BLOCK];
      for (Int j = 0; j < BLOCK; ++j) most[j] = p[j];
      for (Int i = BLOCK; i < blocks; i += BLOCK)
#pragma omp simd
        for (Int j = 0; j < BLOCK; ++j) most[j] = p[i + j] > most[j] ? p[i + j] : most[j];
      const T largest = *std::max_element(most, most + BLOCK);
#pragma omp simd
      for (Int i = 0; i < blocks; ++i) p[i] = exponential(p[i] - largest);
      for (Int i = keys; i < blocks; ++i) p[i] = 0;
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Int i = 0; i < blocks; ++i) sum += p[i];
      const T share = 1 / sum;
#pragma omp simd
      for (Int i = 0; i < blocks; ++i) p[i] *= share;
      std::copy(p, p + keys, out + row * keys);
    }
  }
}

template <typename T, int W>
void softmax_backward(const T* shares, const T* gradient, T* of_logits, T* of_vertical, T* of_horizontal, Int rows,
                      Int down, Int across, T scale, int threads) {
  const Int keys = down * across, width = W ? W : across;
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> room(whole_blocks(keys) + 64), columns(width), own(width);
    for (Int j = 0; j < width; ++j) own[j] = j < across;
#pragma omp for schedule(static)
    for (Int row = 0; row < rows; ++row) {
      const T *p = shares + row * keys, *g = gradient + row * keys, *mine = own.data();
      T *of = room.data(), *oh = columns.data(), *ov = of_vertical + row * down;
      T mean = 0;
#pragma omp simd reduction(+ : mean)
      for (Int i = 0; i < keys; ++i) mean += p[i] * g[i];
#pragma omp simd
      for (Int i = 0; i < keys; ++i) of[i] = p[i] * (g[i] - mean);
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

#define BY_WIDTH(FUNCTION, ...)                       \
  if (across <= 8) FUNCTION<T, 8>(__VA_ARGS__);       \
  else if (across <= 16) FUNCTION<T, 16>(__VA_ARGS__);\
  else if (across <= 32) FUNCTION<T, 32>(__VA_ARGS__);\
  else FUNCTION<T, 0>(__VA_ARGS__);

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void halo_tokens_##NAME(const TYPE* kv, TYPE* keys, TYPE* values, const Int* z, int threads) {           \
    gather(kv, keys, values, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7]}, threads);                         \
  }                                                                                                                   \
  extern "C" void halo_tokens_backward_##NAME(const TYPE* of_keys, const TYPE* of_values, TYPE* of_kv, const Int* z,  \
                                              int threads) {                                                          \
    fold(of_keys, of_values, of_kv, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7]}, threads);                  \
  }                                                                                                                   \
  extern "C" void relative_softmax_##NAME(const TYPE* logits, const TYPE* vertical, const TYPE* horizontal, TYPE* out,\
                                          double scale, const Int* z, int threads) {                                  \
    using T = TYPE;                                                                                                   \
    const Int across = z[2];                                                                                          \
    BY_WIDTH(softmax, logits, vertical, horizontal, out, z[0], z[1], across, T(scale), threads)                       \
  }                                                                                                                   \
  extern "C" void relative_softmax_backward_##NAME(const TYPE* shares, const TYPE* gradient, TYPE* of_logits,         \
                                                   TYPE* of_vertical, TYPE* of_horizontal, double scale,              \
                                                   const Int* z, int threads) {                                       \
    using T = TYPE;                                                                                                   \
    const Int across = z[2];                                                                                          \
    BY_WIDTH(softmax_backward, shares, gradient, of_logits, of_vertical, of_horizontal, z[0], z[1], across, T(scale), \
             threads)                                                                                                 \
  }

ENTRY(float32, float)
ENTRY(float64, double)
