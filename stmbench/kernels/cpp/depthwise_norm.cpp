// GELU of the LayerNorm of a depthwise convolution, in single precision: one row of a map at a time, which never leaves
// the cache in between. Zero padding, stride 1, an odd kernel.
#include "rows.h"

namespace {

struct Shape {
  Int batch, height, width, channels, side;
};

// The taps of one output row, and the part of them that finds a row of the map.
struct Taps {
  const float* kernel;  // (side, side, C)
  const float* bias;    // (C,)
  const float* above;   // the map's row, at column 0, that the first of these taps finds
  Int rows;             // of taps

  // from `first` to `last` across: of N neighbouring outputs, at column `at`
  template <int N>
  void sum(float* out, Int at, Int first, Int last, Int c, const Shape& s) const {
    V sums[N];
    for (int n = 0; n < N; ++n) sums[n] = load(bias + c);
    const Int row = s.width * s.channels;
    for (Int j = 0; j < rows; ++j)
      for (Int i = first; i < last; ++i) {
        const V tap = load(kernel + (j * s.side + i) * s.channels + c);
        const float* from = above + j * row + (at + i - s.side / 2) * s.channels + c;
        for (int n = 0; n < N; ++n) sums[n] += tap * load(from + n * s.channels);
      }
    for (int n = 0; n < N; ++n) *reinterpret_cast<V*>(out + (at + n) * s.channels + c) = sums[n];
  }

  // of one channel, for those that fill no vector
  void sum_one(float* out, Int at, Int first, Int last, Int c, const Shape& s) const {
    float sum = bias[c];
    for (Int j = 0; j < rows; ++j)
      for (Int i = first; i < last; ++i)
        sum += kernel[(j * s.side + i) * s.channels + c] *
               above[j * s.width * s.channels + (at + i - s.side / 2) * s.channels + c];
    out[at * s.channels + c] = sum;
  }
};

void convolve_row(const Taps& taps, float* out, const Shape& s) {
  const Int reach = s.side / 2, whole = s.channels / L * L;
  const Int first = std::min(reach, s.width), last = std::max(first, s.width - reach);  // columns with all taps
  const auto inside = [&](Int at) { return std::pair(std::max<Int>(0, reach - at), std::min(s.side, s.width - at + reach)); };
  for (Int c = 0; c < whole; c += L) {
    for (Int at = 0; at < first; ++at) taps.sum<1>(out, at, inside(at).first, inside(at).second, c, s);
    for (Int at = last; at < s.width; ++at) taps.sum<1>(out, at, inside(at).first, inside(at).second, c, s);
    for (Int at = first; at < last;) {
      const Int count = std::min<Int>(MOST, last - at);
      switch (count) {
        case 1: taps.sum<1>(out, at, 0, s.side, c, s); break;
        case 2: taps.sum<2>(out, at, 0, s.side, c, s); break;
        case 3: taps.sum<3>(out, at, 0, s.side, c, s); break;
        case 4: taps.sum<4>(out, at, 0, s.side, c, s); break;
        case 5: taps.sum<5>(out, at, 0, s.side, c, s); break;
        default: taps.sum<6>(out, at, 0, s.side, c, s);
      }
      at += count;
    }
  }
  for (Int at = 0; at < s.width; ++at)
    for (Int c = whole; c < s.channels; ++c) taps.sum_one(out, at, inside(at).first, inside(at).second, c, s);
}

void run(const float* x, const float* kernel, const float* bias, const float* weight, const float* shift, float* y,
         float eps, const Shape& s, int threads) {
  const Int taps = s.side * s.side, reach = s.side / 2, length = s.width * s.channels;
  Buffer<float> turned(taps * s.channels);
  for (Int c = 0; c < s.channels; ++c)
    for (Int t = 0; t < taps; ++t) turned[t * s.channels + c] = kernel[c * taps + t];
#pragma omp parallel num_threads(threads)
  {
    Buffer<float> row(length);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * s.height; ++job) {
      const Int at = job % s.height, first = std::max<Int>(0, reach - at), last = std::min(s.side, s.height - at + reach);
      const float* above = x + (job + first - reach) * s.width * s.channels;
      convolve_row({turned.data() + first * s.side * s.channels, bias, above, last - first},
                   row.data(), s);
      float* out = y + job * length;
      layer_norms(row.data(), weight, shift, out, eps, s.width, s.channels);
      gelu_in_place(out, length);
    }
  }
}

}  // namespace

extern "C" void depthwise_norm_gelu_float32(const float* x, const float* kernel, const float* bias, const float* weight,
                                            const float* shift, float* y, double eps, const Int* z, int threads) {
  run(x, kernel, bias, weight, shift, y, float(eps), {z[0], z[1], z[2], z[3], z[4]}, threads);
}
