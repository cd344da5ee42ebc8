// A convolution's patches, so that it becomes a product of matrices with its weights as they are: (B, H, W, C) maps, and for
// each of the positions that the convolution makes a row of (count, side * side) numbers, of `count` channels from `first` on.
#include "lanes.h"

namespace {

struct Shape {
  Int batch, height, width, channels, first, count, side, stride, padding, rows, columns;

  Int taps() const { return side * side; }
};

// Call `visit(row of patches, for each tap the address of its channels or null)` for every position of the images
template <typename T, typename Visit>
void every_patch(T* x, const Shape& s, Int image, const Visit& visit) {
  std::vector<T*> taps(s.taps());
  for (Int y = 0; y < s.rows; ++y)
    for (Int c = 0; c < s.columns; ++c) {
      for (Int t = 0; t < s.taps(); ++t) {
        const Int row = y * s.stride + t / s.side - s.padding, column = c * s.stride + t % s.side - s.padding;
        const bool is_inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
        taps[t] = is_inside ? x + ((image * s.height + row) * s.width + column) * s.channels + s.first : nullptr;
      }
      visit((image * s.rows + y) * s.columns + c, taps.data());
    }
}

// to (count, taps)
template <typename T>
void interleave(const T* const* taps, T* to, Int count_of_taps, Int count) {
  constexpr Int TAPS = 9;
  if (count_of_taps == TAPS) {
    const T* from[TAPS];
    std::copy_n(taps, TAPS, from);
    for (Int c = 0; c < count; ++c, to += TAPS)
#pragma GCC unroll 9
      for (Int t = 0; t < TAPS; ++t) to[t] = from[t][c];
    return;
  }
  for (Int c = 0; c < count; ++c, to += count_of_taps)
    for (Int t = 0; t < count_of_taps; ++t) to[t] = taps[t][c];
}

template <typename T>
void patches(const T* x, T* out, const Shape& s, int threads) {
  const std::vector<T> zeros(s.count);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int image = 0; image < s.batch; ++image)
    every_patch(x, s, image, [&](Int row, const T** taps) {
      T* to = out + row * s.count * s.taps();
      for (Int t = 0; t < s.taps(); ++t)
        if (!taps[t]) taps[t] = zeros.data();
      interleave(taps, to, s.taps(), s.count);
    });
}

// Adds to the gradient of x that of its patches.
template <typename T>
void patches_backward(const T* gradient, T* of_x, const Shape& s, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int image = 0; image < s.batch; ++image)
    every_patch(of_x, s, image, [&](Int row, T** taps) {
      const T* from = gradient + row * s.count * s.taps();
      for (Int t = 0; t < s.taps(); ++t)
        if (taps[t])
          for (Int c = 0; c < s.count; ++c) taps[t][c] += from[c * s.taps() + t];
    });
}

Shape shape_of(const Int* z) { return {z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z[8], z[9], z[10]}; }

}  // namespace

#define ENTRY(NAME, T)                                                                                       \
  extern "C" void patches_##NAME(const T* x, T* out, const Int* z, int threads) {                            \
    patches(x, out, shape_of(z), threads);                                                                   \
  }                                                                                                          \
  extern "C" void patches_backward_##NAME(const T* gradient, T* of_x, const Int* z, int threads) {           \
    patches_backward(gradient, of_x, shape_of(z), threads);                                                  \
  }

ENTRY(float32, float)
ENTRY(float64, double)
