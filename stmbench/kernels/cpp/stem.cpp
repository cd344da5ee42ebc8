// The start of a stem in single precision: a 3 x 3 convolution of stride 2 of an image with few channels, LayerNorm and GELU,
// row by row. The image (B, C, H, W) may lie in memory in any order; the map is (B, rows, columns, width).
#include "rows.h"

namespace {

constexpr Int SIDE = 3;
constexpr Int STRIDE = 2;
constexpr int POSITIONS = 4;  // that share the loads of weights

struct Shape {
  Int batch, channels, height, width, made, padded, rows, columns;
  Int of_image, of_channel, of_row, of_column;  // strides

  Int across() const { return width + SIDE; }  // of a row in its frame of zeros
};

// The rows under the taps of a row of the map: (channels, SIDE, across), zero outside of the image
void copy_rows(const float* image, float* to, const Shape& s, Int row) {
  for (Int c = 0; c < s.channels; ++c)
    for (Int k = 0; k < SIDE; ++k, to += s.across()) {
      const Int y = row * STRIDE + k - 1;
      if (y < 0 || y >= s.height) {
        std::fill_n(to, s.across(), 0.0f);
        continue;
      }
      const float* from = image + c * s.of_channel + y * s.of_row;
      for (Int x = 0; x < s.width; ++x) to[x + 1] = from[x * s.of_column];
    }
}

// Of P neighbouring positions, N vectors of their channels. Weights are (channels, SIDE, SIDE, padded).
template <int P, int N>
void sum_some(const float* rows, const float* weights, const float* bias, float* y, const Shape& s) {
  V sum[P][N];
  for (int p = 0; p < P; ++p)
    for (int n = 0; n < N; ++n) sum[p][n] = load(bias + n * L);
  for (Int line = 0; line < s.channels * SIDE; ++line, rows += s.across())
    for (Int k = 0; k < SIDE; ++k, weights += s.padded)
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[p][n] += rows[p * STRIDE + k] * load(weights + n * L);
  for (int p = 0; p < P; ++p)
    for (int n = 0; n < N; ++n) store(y + p * s.padded + n * L, sum[p][n]);
}

template <int P>
void sum_positions(const float* rows, const float* weights, const float* bias, float* y, const Shape& s) {
  Int c = 0;
  for (; c + 3 * L <= s.padded; c += 3 * L) sum_some<P, 3>(rows, weights + c, bias + c, y + c, s);
  for (; c < s.padded; c += L) sum_some<P, 1>(rows, weights + c, bias + c, y + c, s);
}

void stem(const float* image, const float* weights, const float* bias, const float* norm_weight, const float* norm_bias,
          float* out, float eps, const Shape& s, int threads) {
  const Int length = s.columns * s.made, padded = s.padded;
#pragma omp parallel num_threads(threads)
  {
    Buffer<float> rows(s.channels * SIDE * s.across()), sums(s.columns * padded);  // zeros to the left and right stay
#pragma omp for schedule(static)
    for (Int line = 0; line < s.batch * s.rows; ++line) {
      copy_rows(image + line / s.rows * s.of_image, rows.data(), s, line % s.rows);
      Int x = 0;
      for (; x + POSITIONS <= s.columns; x += POSITIONS)
        sum_positions<POSITIONS>(rows.data() + x * STRIDE, weights, bias, &sums[x * padded], s);
      for (; x < s.columns; ++x) sum_positions<1>(rows.data() + x * STRIDE, weights, bias, &sums[x * padded], s);
      if (padded > s.made)
        for (x = 1; x < s.columns; ++x) std::copy_n(&sums[x * padded], s.made, &sums[x * s.made]);
      float* to = out + line * length;
      layer_norms(sums.data(), norm_weight, norm_bias, to, eps, s.columns, s.made);
      gelu_in_place(to, length);
    }
  }
}

}  // namespace

extern "C" void stem_float32(const float* image, const float* weights, const float* bias, const float* norm_weight,
                             const float* norm_bias, float* out, double eps, const Int* z, int threads) {
  const Shape s{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z[8], z[9], z[10], z[11]};
  stem(image, weights, bias, norm_weight, norm_bias, out, float(eps), s, threads);
}
