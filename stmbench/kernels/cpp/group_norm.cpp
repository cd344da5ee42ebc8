// GroupNorm (Wu and He 2018) of maps (images, cells, channels) with a weight and a bias for each channel, and a ReLU
// after it where asked for. A group is channels / groups neighbouring channels of an image.
#include <limits>

#include "entry.h"

namespace {

struct Shape {
  Int images, cells, channels, groups, relu;

  Int width() const { return channels / groups; }
};

// what each channel's value is multiplied by, and what is added then
template <typename T>
void factors(const T* mean, const T* rstd, const T* weight, const T* bias, T* scale, T* shift, const Shape& s) {
  for (Int c = 0; c < s.channels; ++c) {
    const Int group = c / s.width();
    scale[c] = weight[c] * rstd[group];
    shift[c] = bias[c] - mean[group] * scale[c];
  }
}

template <typename T, int N>
void normalise(const T* x, const T* weight, const T* bias, T* y, T* mean, T* rstd, T eps, const Shape& s, int threads) {
  const Int channels = N ? N : s.channels, count = s.cells * s.width();
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> sums(channels), offsets(channels), scales(channels);
#pragma omp for schedule(static)
    for (Int image = 0; image < s.images; ++image) {
      const T* from = x + image * s.cells * channels;
      T *to = y + image * s.cells * channels, *means = mean + image * s.groups, *deviations = rstd + image * s.groups;
      T *sum = sums.data(), *offset = offsets.data(), *scale = scales.data();
      std::fill(sum, sum + channels, T(0));
      for (Int p = 0; p < s.cells; ++p)
#pragma omp simd
        for (Int c = 0; c < channels; ++c) sum[c] += from[p * channels + c];
      for (Int g = 0; g < s.groups; ++g) {
        T total = 0;
        for (Int c = g * s.width(); c < (g + 1) * s.width(); ++c) total += sum[c];
        means[g] = total / count;
        for (Int c = g * s.width(); c < (g + 1) * s.width(); ++c) offset[c] = means[g];
      }
      // squares of what is left without the mean: nothing cancels
      std::fill(sum, sum + channels, T(0));
      for (Int p = 0; p < s.cells; ++p)
#pragma omp simd
        for (Int c = 0; c < channels; ++c) {
          const T each = from[p * channels + c] - offset[c];
          sum[c] += each * each;
        }
      for (Int g = 0; g < s.groups; ++g) {
        T total = 0;
        for (Int c = g * s.width(); c < (g + 1) * s.width(); ++c) total += sum[c];
        deviations[g] = 1 / std::sqrt(total / count + eps);
      }
      factors(means, deviations, weight, bias, scale, offset, s);
      const T least = s.relu ? T(0) : -std::numeric_limits<T>::infinity();
      for (Int p = 0; p < s.cells; ++p)
#pragma omp simd
        for (Int c = 0; c < channels; ++c) {
          const T each = from[p * channels + c] * scale[c] + offset[c];
          to[p * channels + c] = each < least ? least : each;  // NaN stays
        }
    }
  }
}

// of_weight and of_bias are (images, channels): their sums over the images are the gradients
template <typename T, int N>
void normalise_backward(const T* gradient, const T* x, const T* y, const T* weight, const T* mean, const T* rstd, T* of_x,
                        T* of_weight, T* of_bias, const Shape& s, int threads) {
  const Int channels = N ? N : s.channels, count = s.cells * s.width();
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> room(3 * channels), seen(s.cells * channels);
#pragma omp for schedule(static)
    for (Int image = 0; image < s.images; ++image) {
      const Int start = image * s.cells * channels;
      const T *from = x + start, *g = gradient + start, *means = mean + image * s.groups;
      const T* deviations = rstd + image * s.groups;
      T *to = of_x + start, *scale = room.data(), *slope = scale + channels, *shift = slope + channels;
      T *dw = of_weight + image * channels, *db = of_bias + image * channels;
      if (s.relu) {
        const T* above = y + start;
#pragma omp simd
        for (Int i = 0; i < s.cells * channels; ++i) seen[i] = above[i] <= 0 ? T(0) : g[i];
        g = seen.data();
      }
      for (Int c = 0; c < channels; ++c) shift[c] = means[c / s.width()];
      std::fill(dw, dw + channels, T(0));
      std::fill(db, db + channels, T(0));
      for (Int p = 0; p < s.cells; ++p)
#pragma omp simd
        for (Int c = 0; c < channels; ++c) {
          const Int i = p * channels + c;
          dw[c] += g[i] * (from[i] - shift[c]);
          db[c] += g[i];
        }
      for (Int k = 0; k < s.groups; ++k) {
        const T r = deviations[k];
        T along = 0, level = 0;
        for (Int c = k * s.width(); c < (k + 1) * s.width(); ++c) {
          dw[c] *= r;
          along += weight[c] * dw[c];
          level += weight[c] * db[c];
        }
        for (Int c = k * s.width(); c < (k + 1) * s.width(); ++c) {
          scale[c] = weight[c] * r;
          slope[c] = -along * r * r / count;
          shift[c] = -level * r / count - slope[c] * means[k];
        }
      }
      for (Int p = 0; p < s.cells; ++p)
#pragma omp simd
        for (Int c = 0; c < channels; ++c) {
          const Int i = p * channels + c;
          to[i] = scale[c] * g[i] + slope[c] * from[i] + shift[c];
        }
    }
  }
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void group_norm_##NAME(const TYPE* x, const TYPE* weight, const TYPE* bias, TYPE* y, TYPE* mean,         \
                                    TYPE* rstd, double eps, const Int* z, int threads) {                              \
    using T = TYPE;                                                                                                   \
    const Shape s{z[0], z[1], z[2], z[3], z[4]};                                                                      \
    BY_LENGTH(s.channels, normalise, x, weight, bias, y, mean, rstd, T(eps), s, threads)                              \
  }                                                                                                                   \
  extern "C" void group_norm_backward_##NAME(const TYPE* gradient, const TYPE* x, const TYPE* y, const TYPE* weight,  \
                                             const TYPE* mean, const TYPE* rstd, TYPE* of_x, TYPE* of_weight,         \
                                             TYPE* of_bias, const Int* z, int threads) {                              \
    using T = TYPE;                                                                                                   \
    const Shape s{z[0], z[1], z[2], z[3], z[4]};                                                                      \
    BY_LENGTH(s.channels, normalise_backward, gradient, x, y, weight, mean, rstd, of_x, of_weight, of_bias, s,        \
              threads)                                                                                                \
  }

ENTRY(float32, float)
ENTRY(float64, double)
