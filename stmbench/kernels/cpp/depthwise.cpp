// Depthwise convolution of a map with zero padding, stride 1 and an output of the map's size, and its gradients.
// x, y (B, H, W, C); kernel (C, down, across), both odd.
//
// A job has a few channels, two vectors wide, of some rows of an image: they are copied side by side, with zeros to the
// left and right, so that every load below is of whole vectors and no tap needs a condition.
#include "lanes.h"

namespace {

struct Shape {
  Int batch, height, width, channels, down, across, dilation;

  // columns of taps at either end that are further out than the map is wide: left out
  Int cut() const { return std::max<Int>(0, across / 2 - (width - 1) / dilation); }
  Int kept() const { return across - 2 * cut(); }
  Int above() const { return down / 2 * dilation; }
  Int before() const { return kept() / 2 * dilation; }
  Int padded() const { return width + 2 * before(); }
  template <typename T>
  Int blocks() const { return (channels + CHANNELS<T> - 1) / CHANNELS<T>; }
  // rows of a job, whose copies with those above and below fit into the cache
  template <typename T>
  Int band() const {
    const Int rows = CACHED / Int(sizeof(T)) / (CHANNELS<T> * padded()) - 2 * above();
    const Int bands = (height + std::max<Int>(rows, 8) - 1) / std::max<Int>(rows, 8);
    return (height + bands - 1) / bands;
  }
};

// (down, kept, CHANNELS) of `count` kernels (down, across), turned by 180 degrees if asked
template <typename T>
void copy_kernels(const T* kernel, T* to, Int count, bool turned, const Shape& s) {
  const Int taps = s.down * s.across;
  std::fill(to, to + s.down * s.kept() * CHANNELS<T>, T(0));
  for (Int j = 0; j < s.down; ++j)
    for (Int i = s.cut(); i < s.across - s.cut(); ++i, to += CHANNELS<T>) {
      const Int tap = j * s.across + i;
      for (Int c = 0; c < count; ++c) to[c] = kernel[c * taps + (turned ? taps - 1 - tap : tap)];
    }
}

// N neighbouring outputs: x at the first one's first tap, rows `row` values apart, taps `step` values apart
template <typename T, int N>
void sum_taps(const T* x, const T* kernel, const T* start, T* out, Int rows, Int across, Int row, Int step, Int count,
              Int channels) {
  Lanes<T> low[N], high[N];
  for (int n = 0; n < N; ++n) {
    low[n] = *reinterpret_cast<const Lanes<T>*>(start);
    high[n] = *reinterpret_cast<const Lanes<T>*>(start + LANES<T>);
  }
  for (Int j = 0; j < rows; ++j, x += row) {
    const T* at = x;
    for (Int i = 0; i < across; ++i, at += step, kernel += CHANNELS<T>) {
      const Lanes<T> a = *reinterpret_cast<const Lanes<T>*>(kernel);
      const Lanes<T> b = *reinterpret_cast<const Lanes<T>*>(kernel + LANES<T>);
      for (int n = 0; n < N; ++n) {
        low[n] += a * *reinterpret_cast<const Lanes<T>*>(at + n * CHANNELS<T>);
        high[n] += b * *reinterpret_cast<const Lanes<T>*>(at + n * CHANNELS<T> + LANES<T>);
      }
    }
  }
  for (int n = 0; n < N; ++n, out += channels) put<T>(low[n], high[n], out, count);
}

template <typename T>
void convolve(const T* x, const T* kernel, const T* bias, T* y, Int pixel, bool turned, const Shape& s, int threads) {
  const Int band = s.band<T>(), bands = (s.height + band - 1) / band, blocks = s.blocks<T>();
  const Int row = s.padded() * CHANNELS<T>, parts = (s.width + MOST - 1) / MOST;
#pragma omp parallel num_threads(threads)
  {
    Buffer<T> copied((band + 2 * s.above()) * row), kernels(s.down * s.kept() * CHANNELS<T>), start(CHANNELS<T>);
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < s.batch * blocks * bands; ++job) {
      const Int first = job % bands * band, last = std::min(first + band, s.height);
      const Int channel = job / bands % blocks * CHANNELS<T>, image = job / bands / blocks * s.height * s.width;
      const Int count = std::min(CHANNELS<T>, s.channels - channel);
      const Int top = std::max<Int>(0, first - s.above()), bottom = std::min(s.height, last + s.above());
      const T* given = x + (image + top * s.width) * pixel + channel;
      copy_rows(given, copied.data(), bottom - top, s.width, pixel, count, s.before());
      copy_kernels(kernel + channel * s.down * s.across, kernels.data(), count, turned, s);
      std::fill(start.begin(), start.end(), T(0));
      if (bias) std::copy(bias + channel, bias + channel + count, start.begin());
      for (Int h = first; h < last; ++h) {
        // taps j with 0 <= h - above + j dilation < height
        const Int skipped = std::max<Int>(0, (s.above() - h + s.dilation - 1) / s.dilation);
        const Int end = std::min(s.down, (s.height - 1 - h + s.above()) / s.dilation + 1);
        const T* from = copied.data() + (h - s.above() + skipped * s.dilation - top) * row;
        const T* taps = kernels.data() + skipped * s.kept() * CHANNELS<T>;
        T* to = y + (image + h * s.width) * s.channels + channel;
        for (Int part = 0; part < parts; ++part) {
          const Int left = part * s.width / parts, columns = (part + 1) * s.width / parts - left;
          BY_COUNT(columns, sum_taps, from + left * CHANNELS<T>, taps, start.data(), to + left * s.channels,
                   end - skipped, s.kept(), s.dilation * row, s.dilation * CHANNELS<T>, count, s.channels)
        }
      }
    }
  }
}

// of_kernel (groups, C, down, across): of each group of images, whose number does not depend on that of threads
template <typename T>
void correlate(const T* gradient, const T* x, T* of_kernel, Int pixel, Int of_gradient, Int groups, const Shape& s,
               int threads) {
  const Int band = s.band<T>(), blocks = s.blocks<T>();
  const Int row = s.padded() * CHANNELS<T>, parts = (s.kept() + MOST - 1) / MOST;
  const Int step = s.dilation * CHANNELS<T>;
  const auto beside = [step](Int n) { return n * step; };
#pragma omp parallel num_threads(threads)
  {
    Buffer<T> copied((band + 2 * s.above()) * row), gradients(band * s.width * CHANNELS<T>);
    Buffer<T> sums(s.down * s.kept() * CHANNELS<T>), total(sums);
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < groups * blocks; ++job) {
      const Int group = job / blocks, channel = job % blocks * CHANNELS<T>;
      const Int count = std::min(CHANNELS<T>, s.channels - channel);
      std::fill(total.begin(), total.end(), T(0));
      for (Int b = group * s.batch / groups; b < (group + 1) * s.batch / groups; ++b)
        for (Int first = 0; first < s.height; first += band) {
          const Int image = b * s.height * s.width, last = std::min(first + band, s.height);
          const Int top = std::max<Int>(0, first - s.above()), bottom = std::min(s.height, last + s.above());
          const T* given = x + (image + top * s.width) * pixel + channel;
          copy_rows(given, copied.data(), bottom - top, s.width, pixel, count, s.before());
          const T* outer = gradient + (image + first * s.width) * of_gradient + channel;
          copy_rows(outer, gradients.data(), last - first, s.width, of_gradient, count, Int(0));
          std::fill(sums.begin(), sums.end(), T(0));
          for (Int h = first; h < last; ++h)
            for (Int j = 0; j < s.down; ++j) {
              const Int y = h - s.above() + j * s.dilation;
              if (y < 0 || y >= s.height) continue;
              const T *from = copied.data() + (y - top) * row, *g = gradients.data() + (h - first) * s.width * CHANNELS<T>;
              for (Int part = 0; part < parts; ++part) {
                const Int left = part * s.kept() / parts, taps = (part + 1) * s.kept() / parts - left;
                BY_COUNT(taps, sum_columns, from + left * step, g, beside,
                         sums.data() + (j * s.kept() + left) * CHANNELS<T>, s.width)
              }
            }
          for (size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];  // in steps: long sums lose digits
        }
      for (Int c = 0; c < count; ++c) {
        T* to = of_kernel + (group * s.channels + channel + c) * s.down * s.across;
        std::fill(to, to + s.down * s.across, T(0));
        for (Int j = 0; j < s.down; ++j)
          for (Int i = 0; i < s.kept(); ++i)
            to[j * s.across + s.cut() + i] = total[(j * s.kept() + i) * CHANNELS<T> + c];
      }
    }
  }
}

Shape shape_of(const Int* z) { return {z[0], z[1], z[2], z[3], z[4], z[5], z[6]}; }

}  // namespace

#define FUNCTIONS(T, NAME)                                                                                            \
  extern "C" void depthwise_##NAME(const T* x, const T* kernel, const T* bias, T* y, const Int* z, int threads) {      \
    convolve(x, kernel, z[9] ? bias : nullptr, y, z[7], z[8] != 0, shape_of(z), threads);                              \
  }                                                                                                                   \
  extern "C" void depthwise_of_kernel_##NAME(const T* gradient, const T* x, T* of_kernel, const Int* z, int threads) { \
    correlate(gradient, x, of_kernel, z[7], z[8], z[9], shape_of(z), threads);                                         \
  }

FUNCTIONS(float, float32)
FUNCTIONS(double, float64)
