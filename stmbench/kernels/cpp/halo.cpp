// Halo attention: the tokens around every window. kv (B, H, W, heads, 2, depth); keys and values (B * windows, heads,
// reach^2, depth), zero outside the map.
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

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void halo_tokens_##NAME(const TYPE* kv, TYPE* keys, TYPE* values, const Int* z, int threads) {           \
    gather(kv, keys, values, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7]}, threads);                         \
  }                                                                                                                   \
  extern "C" void halo_tokens_backward_##NAME(const TYPE* of_keys, const TYPE* of_values, TYPE* of_kv, const Int* z,  \
                                              int threads) {                                                          \
    fold(of_keys, of_values, of_kv, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7]}, threads);                  \
  }

ENTRY(float32, float)
ENTRY(float64, double)
