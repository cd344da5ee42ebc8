// Two maps mixed by shares of each image and channel, and their mean: (B, N, C) maps, (B, C) shares.
#include "columns.h"

namespace {

// y = first a + second b
template <typename T>
void mix(const T* first, const T* second, const T* a, const T* b, T* y, Int batch, Int count, Int width, int threads) {
  share_rows(batch * count, threads, [=](int, Int begin, Int end) {
    for (Int row = begin; row < end; ++row) {
      const T *one = a + row / count * width, *other = b + row / count * width;
      along<T>(width, [=](auto kind, Int c) {
        const Int here = row * width + c;
        put(y + here, get(kind, first + here) * get(kind, one + c) + get(kind, second + here) * get(kind, other + c));
      });
    }
  });
}

// From the gradient of y those of both maps and both shares, which begin at zero.
template <typename T>
void mix_backward(const T* gradient, const T* first, const T* second, const T* a, const T* b, T* of_first, T* of_second,
                  T* of_a, T* of_b, Int batch, Int count, Int width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int image = 0; image < batch; ++image) {
    const T *one = a + image * width, *other = b + image * width;
    Columns<T> sums_a(of_a + image * width, width), sums_b(of_b + image * width, width);
    for (Int row = image * count; row < (image + 1) * count; ++row, sums_a.end_row(), sums_b.end_row())
      along<T>(width, [&](auto kind, Int c) {
        const Int here = row * width + c;
        const auto above = get(kind, gradient + here);
        put(of_first + here, above * get(kind, one + c));
        put(of_second + here, above * get(kind, other + c));
        sums_a.add(c, above * get(kind, first + here));
        sums_b.add(c, above * get(kind, second + here));
      });
  }
}

// The mean over positions of the sum of both maps, into what is zero.
template <typename T>
void pool(const T* first, const T* second, T* mean, Int batch, Int count, Int width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int image = 0; image < batch; ++image) {
    T* to = mean + image * width;
    {
      Columns<T> sums(to, width);
      for (Int row = image * count; row < (image + 1) * count; ++row, sums.end_row())
        along<T>(width, [&](auto kind, Int c) {
          sums.add(c, get(kind, first + row * width + c) + get(kind, second + row * width + c));
        });
    }
    for (Int c = 0; c < width; ++c) to[c] /= T(count);
  }
}

}  // namespace

#define ENTRY(NAME, T)                                                                                              \
  extern "C" void mix_##NAME(const T* first, const T* second, const T* a, const T* b, T* y, const Int* z,           \
                             int threads) {                                                                         \
    mix(first, second, a, b, y, z[0], z[1], z[2], threads);                                                         \
  }                                                                                                                 \
  extern "C" void mix_backward_##NAME(const T* gradient, const T* first, const T* second, const T* a, const T* b,   \
                                      T* of_first, T* of_second, T* of_a, T* of_b, const Int* z, int threads) {     \
    mix_backward(gradient, first, second, a, b, of_first, of_second, of_a, of_b, z[0], z[1], z[2], threads);        \
  }                                                                                                                 \
  extern "C" void pool_##NAME(const T* first, const T* second, T* mean, const Int* z, int threads) {                \
    pool(first, second, mean, z[0], z[1], z[2], threads);                                                           \
  }

ENTRY(float32, float)
ENTRY(float64, double)
