// What a contextual (CoT) block does besides its convolutions, in single precision and without a gradient. Maps are
// (B, H, W, C). BatchNorms come as a scale and a shift for each channel.
#include "rows.h"

namespace {

// y = max(0, scale y + shift)
void affine_relu(float* y, const float* scale, const float* shift, Int rows, Int width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int row = 0; row < rows; ++row) {
    float* to = y + row * width;
#pragma omp simd
    for (Int c = 0; c < width; ++c) {
      const float moved = to[c] * scale[c] + shift[c];
      to[c] = moved < 0 ? 0.0f : moved;  // what is not a number stays
    }
  }
}

// Of one channel at all positions of an image: its mean, and the sum of squared distances from it.
struct Moments {
  double mean, squares;
};

// Of L channels, `step` numbers from one position to the next: of some rows at a time, with their own mean, so that no
// digits are lost to a large mean, to one that is far from it, or to long sums (Chan et al. 1979).
void moments_of(const float* x, Int count, Int step, Moments* found) {
  constexpr Int ROWS = 64;
  for (Int i = 0; i < L; ++i) found[i] = {0, 0};
  for (Int start = 0; start < count; start += ROWS) {
    const Int end = std::min(start + ROWS, count);
    V sum[2] = {}, square[2] = {};
    for (Int row = start; row < end; ++row) sum[row % 2] += load(x + row * step);
    const V mean = (sum[0] + sum[1]) / float(end - start);
    V rest{};  // what rounding the mean leaves
    for (Int row = start; row < end; ++row) {
      const V from_mean = load(x + row * step) - mean;
      rest += from_mean;
      square[row % 2] += from_mean * from_mean;
    }
    const V squares = square[0] + square[1];
    for (Int i = 0; i < L; ++i) {
      const double here = double(end - start), all = double(end), left = double(rest[i]) / here;
      const double apart = double(mean[i]) + left - found[i].mean;
      found[i].squares += double(squares[i]) - here * left * left + apart * apart * here * double(start) / all;
      found[i].mean += apart * here / all;
    }
  }
}

// GroupNorm as a scale and a shift for each channel of each image. x (B, N, halves, taps, own): a group is the taps of one
// of the `own` channels. bias is added before; it, weight and offset are as the channels of x.
void group_affine(const float* x, const float* bias, const float* weight, const float* offset, float* scale,
                  float* shift, double eps, Int batch, Int count, Int halves, Int taps, Int own, int threads) {
  const Int half = taps * own, channels = halves * half;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int image = 0; image < batch; ++image) {
    const float* map = x + image * count * channels;
    std::vector<Moments> moments(channels + L);
    Int c = 0;
    for (; c + L <= channels; c += L) moments_of(map + c, count, channels, moments.data() + c);
    if (c < channels) {  // the last ones once more, or copies where there are fewer than a vector has
      if (channels >= L) {
        moments_of(map + channels - L, count, channels, moments.data() + channels - L);
      } else {
        std::vector<float> copy(count * L);
        for (Int n = 0; n < count; ++n) std::copy_n(map + n * channels, channels, copy.data() + n * L);
        moments_of(copy.data(), count, L, moments.data());
      }
    }
    for (Int group = 0; group < halves * own; ++group) {
      const Int first = group / own * half + group % own;
      double mean = 0, squares = 0;
      for (Int t = 0; t < taps; ++t) mean += moments[first + t * own].mean + double(bias[first + t * own]);
      mean /= double(taps);
      for (Int t = 0; t < taps; ++t) {
        const Int at = first + t * own;
        const double apart = moments[at].mean + double(bias[at]) - mean;
        squares += moments[at].squares + double(count) * apart * apart;
      }
      const double by = 1 / std::sqrt(squares / double(taps * count) + eps);
      for (Int t = 0; t < taps; ++t) {
        const Int at = first + t * own;
        const double factor = by * double(weight[at]);
        scale[image * channels + at] = float(factor);
        shift[image * channels + at] = float((double(bias[at]) - mean) * factor + double(offset[at]));
      }
    }
  }
}

constexpr int K = 3;       // side of a neighbourhood
constexpr Int SHARED = 8;  // channels that share a weight

struct Shape {
  Int batch, height, width, channels, halves;

  Int half() const { return channels / halves; }
  Int own() const { return half() / SHARED; }  // weights of a half for each tap
};

struct Given {
  const float *value, *value_scale, *value_shift;     // (B, H, W, C), (C,) twice
  const float *weights, *weight_scale, *weight_shift;  // (B, H, W, halves, taps, own), (B, halves, taps, own) twice
  const float *scale, *shift;                          // (C,), of the sums
  const float* context;                                // (B, H, W, C)
};

// e^x for x <= 0 as `exponential`, and SiLU with it
inline float silu(float x) {
  const float share = exponential(x < 0 ? x : -x), whole = 1 / (1 + share);
  return x * (x < 0 ? share * whole : whole);
}

// The weights of one tap at one position, moved, as often as to fill own + L numbers: from c mod own on, they are those of
// the channels from c on. Here and in `weights`, `scale` and `shift` there is room for a vector behind the last.
void repeat_weights(const float* weights, const float* scale, const float* shift, float* tile, Int own) {
  const V head = load(weights) * load(scale) + load(shift);
  *reinterpret_cast<V*>(tile) = head;
  for (Int g = L; g < own; g += L)
    *reinterpret_cast<V*>(tile + g) = load(weights + g) * load(scale + g) + load(shift + g);
  for (Int g = own; g < own + L; g += own) *reinterpret_cast<V*>(tile + g) = head;
}

// Of the channels of a half at one position, the sums over the taps: `values` are at the first one, rows of taps are `across`
// values apart, and columns `step`; tiles of weights are `tile` apart.
void sum_taps(const float* tiles, const float* values, float* sums, Int tile, Int across, Int step, Int own, Int half) {
  const Int whole = half / L * L;
  Int phase = 0;  // c mod own
  for (Int c = 0; c < whole; c += L) {
    V sum[K] = {};  // that do not wait for each other
#pragma GCC unroll 3
    for (int j = 0; j < K; ++j)
#pragma GCC unroll 3
      for (int i = 0; i < K; ++i)
        sum[j] += load(tiles + (j * K + i) * tile + phase) * load(values + j * across + i * step + c);
    *reinterpret_cast<V*>(sums + c) = sum[0] + sum[1] + sum[2];
    for (phase += L; phase >= own;) phase -= own;
  }
  for (Int c = whole; c < half; ++c) {
    sums[c] = 0;
    for (Int j = 0; j < K; ++j)
      for (Int i = 0; i < K; ++i) sums[c] += tiles[(j * K + i) * tile + c % own] * values[j * across + i * step + c];
  }
}

// y = SiLU(scale sum + shift), the sum over taps of moved weights times moved values, zero outside the map; channel c of
// a half has weight c mod own. `pooled` (B, H, C) is the sum of y + context over each row.
void contextual_sums(const Given& given, float* y, float* pooled, const Shape& s, int threads) {
  const Int C = s.channels, half = s.half(), own = s.own(), taps = K * K, reach = K / 2;
  const Int across = (s.width + 2 * reach) * C, tile = whole_blocks(own + L), of_half = taps * own;
  const Int fit = std::max<Int>(4, CACHED / 2 / Int(sizeof(float)) / across - 2 * reach);
  const Int bands = (s.height + fit - 1) / fit, most = (s.height + bands - 1) / bands;
#pragma omp parallel num_threads(threads)
  {
    Buffer<float> rows((most + 2 * reach) * across), tiles(s.width * s.halves * taps * tile + L), sums(C);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * bands; ++job) {
      const Int image = job / bands, begin = job % bands * s.height / bands, end = (job % bands + 1) * s.height / bands;
      const float *scale = given.weight_scale + image * s.halves * of_half;
      const float *shift = given.weight_shift + image * s.halves * of_half;
      for (Int row = begin - reach; row < end + reach; ++row) {
        float* to = rows.data() + (row - begin + reach) * across;
        if (row < 0 || row >= s.height) {
          std::fill_n(to, across, 0.0f);
          continue;
        }
        to += reach * C;  // zeros to the left and right stay
        const float* from = given.value + (image * s.height + row) * s.width * C;
        for (Int x = 0; x < s.width; ++x, to += C, from += C)
#pragma omp simd
          for (Int c = 0; c < C; ++c) to[c] = from[c] * given.value_scale[c] + given.value_shift[c];
      }
      for (Int row = begin; row < end; ++row) {
        const Int line = (image * s.height + row) * s.width;
        float* total = pooled + (image * s.height + row) * C;
        std::fill_n(total, C, 0.0f);
        // of the whole row before they are read: a load waits for earlier stores that it lies across
        for (Int x = 0; x < s.width; ++x)
          for (Int part = 0; part < s.halves * taps; ++part)
            repeat_weights(given.weights + (line + x) * s.halves * of_half + part * own, scale + part * own,
                           shift + part * own, tiles.data() + (x * s.halves * taps + part) * tile, own);
        for (Int x = 0; x < s.width; ++x) {
          for (Int h = 0; h < s.halves; ++h)
            sum_taps(tiles.data() + (x * s.halves + h) * taps * tile, rows.data() + (row - begin) * across + x * C + h * half,
                     sums.data() + h * half, tile, across, C, own, half);
          const float *sum = sums.data(), *context = given.context + (line + x) * C;
          float* out = y + (line + x) * C;
#pragma omp simd
          for (Int c = 0; c < C; ++c) {
            out[c] = silu(sum[c] * given.scale[c] + given.shift[c]);
            total[c] += out[c] + context[c];
          }
        }
      }
    }
  }
}

}  // namespace

extern "C" void affine_relu_float32(const float* scale, const float* shift, float* y, const Int* z, int threads) {
  affine_relu(y, scale, shift, z[0], z[1], threads);
}
extern "C" void group_affine_float32(const float* x, const float* bias, const float* weight, const float* offset,
                                     float* scale, float* shift, double eps, const Int* z, int threads) {
  group_affine(x, bias, weight, offset, scale, shift, eps, z[0], z[1], z[2], z[3], z[4], threads);
}
extern "C" void contextual_sums_float32(const float* value, const float* value_scale, const float* value_shift,
                                        const float* weights, const float* weight_scale, const float* weight_shift,
                                        const float* scale, const float* shift, const float* context, float* y,
                                        float* pooled, const Int* z, int threads) {
  const Given given{value, value_scale, value_shift, weights, weight_scale, weight_shift, scale, shift, context};
  contextual_sums(given, y, pooled, {z[0], z[1], z[2], z[3], z[4]}, threads);
}
