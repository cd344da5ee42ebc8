// Depthwise convolutions with different shapes of kernel for different parts of the channels, in one pass, and their
// gradients. x, y (B, H, W, C): the last channels belong to the branches, those before are copied, or zero.
// taps: of each branch its (channels, down, across), one after the other.
//
// A job has two vectors of channels, counted from the last, which may belong to several branches, of some rows of an
// image. Its taps are those of any of its channels; where a channel's own kernel has no such tap, its weight is zero.
// Channels of no branch that share vectors with others have one tap, their own pixel. A band of rows with infinities or
// NaN goes channel by channel: zero times what is not finite would reach further than a channel's own kernel.
#include "lanes.h"

namespace {

constexpr Int STRIP = 16;  // columns whose rows above and below fit into the first cache

struct Branch {
  Int channels, down, across;
};

struct Shape {
  Int batch, height, width, channels, pixel;
  std::vector<Branch> branches;

  explicit Shape(const Int* z) : batch(z[0]), height(z[1]), width(z[2]), channels(z[3]), pixel(z[4]) {
    for (Int i = 0; i < z[5]; ++i) branches.push_back({z[6 + 3 * i], z[7 + 3 * i], z[8 + 3 * i]});
  }

  Int total() const {  // weights of all branches
    Int sum = 0;
    for (const Branch& b : branches) sum += b.channels * b.down * b.across;
    return sum;
  }
  Int convolved() const {
    Int sum = 0;
    for (const Branch& b : branches) sum += b.channels;
    return sum;
  }
  Int copied() const { return channels - convolved(); }
  Int above() const {
    Int most = 0;
    for (const Branch& b : branches) most = std::max(most, b.down / 2);
    return most;
  }
  Int before() const {
    Int most = 0;
    for (const Branch& b : branches) most = std::max(most, b.across / 2);
    return most;
  }
  Int padded() const { return width + 2 * before(); }
  template <typename T>
  Int blocks() const { return (convolved() + CHANNELS<T> - 1) / CHANNELS<T>; }
  template <typename T>
  Int first(Int block) const { return std::max<Int>(0, channels - (block + 1) * CHANNELS<T>); }
  template <typename T>
  Int count(Int block) const { return channels - block * CHANNELS<T> - first<T>(block); }
  template <typename T>
  Int band() const {
    const Int rows = CACHED / Int(sizeof(T)) / (CHANNELS<T> * padded()) - 2 * above();
    const Int bands = (height + std::max<Int>(rows, 8) - 1) / std::max<Int>(rows, 8);
    return (height + bands - 1) / bands;
  }
};

// The taps of a block of channels, and where each channel's weight for each of them lies
struct Taps {
  std::vector<Int> offsets;  // values from a pixel of the copied rows to the tap's
  struct Place { Int tap, turned, lane, weight; };
  std::vector<Place> places;  // of weights: their tap, also of kernels turned by 180 degrees; weight < 0 is a copy's

  Taps(const Shape& s, Int first, Int count, Int lanes) {
    const Int columns = 2 * s.before() + 1;
    std::vector<Int> known((2 * s.above() + 1) * columns, -1);
    const auto tap_at = [&](Int j, Int i) {  // from the middle
      Int& tap = known[(j + s.above()) * columns + i + s.before()];
      if (tap < 0) {
        tap = Int(offsets.size());
        offsets.push_back((j * s.padded() + i) * lanes);
      }
      return tap;
    };
    for (Int c = first; c < std::min(s.copied(), first + count); ++c) {
      const Int middle = tap_at(0, 0);
      places.push_back({middle, middle, c - first, -1});
    }
    Int channel = s.copied(), weight = 0;
    for (const Branch& b : s.branches)
      for (Int c = 0; c < b.channels; ++c, ++channel) {
        if (channel < first || channel >= first + count) {
          weight += b.down * b.across;
          continue;
        }
        for (Int j = -(b.down / 2); j <= b.down / 2; ++j)
          for (Int i = -(b.across / 2); i <= b.across / 2; ++i, ++weight)
            places.push_back({tap_at(j, i), tap_at(-j, -i), channel - first, weight});
      }
  }
};

// rows first - above to last + above of an image, zero outside the map
template <typename T>
void copy_band(const T* image, T* to, Int first, Int last, Int count, const Shape& s) {
  const Int row = s.padded() * CHANNELS<T>, top = first - s.above(), bottom = last + s.above();
  const Int inside = std::max<Int>(0, top), end = std::min(s.height, bottom);
  std::fill(to, to + (inside - top) * row, T(0));
  to += (inside - top) * row;
  copy_rows(image + inside * s.width * s.pixel, to, end - inside, s.width, s.pixel, count, s.before());
  to += (end - inside) * row;
  std::fill(to, to + (bottom - end) * row, T(0));
}

// N neighbouring outputs: x at the first one's pixel
template <typename T, int N>
void sum_taps(const T* x, const T* kernel, const T* start, T* out, const std::vector<Int>& offsets, Int count, Int channels) {
  Lanes<T> low[N], high[N];
  for (int n = 0; n < N; ++n) {
    low[n] = *reinterpret_cast<const Lanes<T>*>(start);
    high[n] = *reinterpret_cast<const Lanes<T>*>(start + LANES<T>);
  }
  for (const Int offset : offsets) {
    const Lanes<T> a = *reinterpret_cast<const Lanes<T>*>(kernel);
    const Lanes<T> b = *reinterpret_cast<const Lanes<T>*>(kernel + LANES<T>);
    kernel += CHANNELS<T>;
    for (int n = 0; n < N; ++n) {
      low[n] += a * *reinterpret_cast<const Lanes<T>*>(x + offset + n * CHANNELS<T>);
      high[n] += b * *reinterpret_cast<const Lanes<T>*>(x + offset + n * CHANNELS<T> + LANES<T>);
    }
  }
  for (int n = 0; n < N; ++n, out += channels) put<T>(low[n], high[n], out, count);
}

template <typename T>
bool is_finite(const Buffer<T>& rows) {
  Lanes<T> sum{};
  for (size_t i = 0; i < rows.size(); i += LANES<T>) sum += *reinterpret_cast<const Lanes<T>*>(&rows[i]) * T(0);
  T total = 0;
  for (Int i = 0; i < LANES<T>; ++i) total += sum[i];
  return total == 0;
}

// One output, each channel by its own taps alone
template <typename T>
void sum_own_taps(const T* x, const T* kernel, const T* start, T* out, const Taps& own, bool turned, Int count) {
  std::copy(start, start + count, out);
  for (const auto& p : own.places) {
    const Int tap = turned ? p.turned : p.tap;
    const T weight = kernel[tap * CHANNELS<T> + p.lane];
    if (p.weight >= 0 || weight != 0) out[p.lane] += weight * x[own.offsets[tap] + p.lane];
  }
}

template <typename T>
void convolve(const T* x, const T* taps, const T* bias, T* y, bool turned, bool kept, const Shape& s, int threads) {
  const Int band = s.band<T>(), bands = (s.height + band - 1) / band, blocks = s.blocks<T>();
  const Int row = s.padded() * CHANNELS<T>, parts = (s.width + MOST - 1) / MOST;
  const Int before = s.first<T>(blocks - 1);  // channels of no job
#pragma omp parallel num_threads(threads)
  {
    Buffer<T> copied, start(CHANNELS<T>);
    copied.reserve((band + 2 * s.above()) * row);
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < s.batch * blocks * bands; ++job) {
      const Int first = job % bands * band, last = std::min(first + band, s.height);
      const Int block = job / bands % blocks, image = job / bands / blocks * s.height * s.width;
      const Int channel = s.first<T>(block), count = s.count<T>(block);
      const Taps own(s, channel, count, CHANNELS<T>);
      Buffer<T> kernel(own.offsets.size() * CHANNELS<T>, T(0));
      for (const auto& p : own.places)
        kernel[(turned ? p.turned : p.tap) * CHANNELS<T> + p.lane] = p.weight < 0 ? T(kept) : taps[p.weight];
      std::fill(start.begin(), start.end(), T(0));
      for (Int c = std::max(channel, s.copied()); bias && c < channel + count; ++c)
        start[c - channel] = bias[c - s.copied()];
      copied.resize((last - first + 2 * s.above()) * row);
      copy_band(x + image * s.pixel + channel, copied.data(), first, last, count, s);
      const bool finite = is_finite(copied);
      for (Int part = 0; part < parts; ++part) {  // down, not along: fewer rows than the first cache holds are read at a time
        const Int left = part * s.width / parts, columns = (part + 1) * s.width / parts - left;
        const T* from = copied.data() + s.above() * row + (s.before() + left) * CHANNELS<T>;
        T* to = y + (image + first * s.width + left) * s.channels + channel;
        for (Int h = first; h < last; ++h, from += row, to += s.width * s.channels) {
          if (!finite) {
            for (Int i = 0; i < columns; ++i)
              sum_own_taps(from + i * CHANNELS<T>, kernel.data(), start.data(), to + i * s.channels, own, turned, count);
            continue;
          }
          BY_COUNT(columns, sum_taps, from, kernel.data(), start.data(), to, own.offsets, count, s.channels)
        }
      }
      if (block > 0 || before == 0) continue;
      const T* given = x + (image + first * s.width) * s.pixel;
      T* to = y + (image + first * s.width) * s.channels;
      for (Int i = 0; i < (last - first) * s.width; ++i, given += s.pixel, to += s.channels) {
        if (kept)
          std::copy(given, given + before, to);
        else
          std::fill(to, to + before, T(0));
      }
    }
  }
}

// of_taps (groups, all weights): of each group of images, whose number does not depend on that of threads
template <typename T>
void correlate(const T* gradient, const T* x, T* of_taps, Int of_gradient, Int groups, const Shape& s, int threads) {
  const Int band = s.band<T>(), blocks = s.blocks<T>(), row = s.padded() * CHANNELS<T>, weights = s.total();
  const Int strips = (s.width + STRIP - 1) / STRIP;
#pragma omp parallel num_threads(threads)
  {
    Buffer<T> copied((band + 2 * s.above()) * row), gradients(band * s.width * CHANNELS<T>);
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < groups * blocks; ++job) {
      const Int group = job / blocks, block = job % blocks;
      const Int channel = s.first<T>(block), count = s.count<T>(block);
      const Taps own(s, channel, count, CHANNELS<T>);
      const Int taps = Int(own.offsets.size()), parts = (taps + MOST - 1) / MOST;
      Buffer<T> sums(taps * CHANNELS<T>), total(sums);
      for (Int b = group * s.batch / groups; b < (group + 1) * s.batch / groups; ++b)
        for (Int first = 0; first < s.height; first += band) {
          const Int image = b * s.height * s.width, last = std::min(first + band, s.height);
          copy_band(x + image * s.pixel + channel, copied.data(), first, last, count, s);
          const T* outer = gradient + (image + first * s.width) * of_gradient + channel;
          copy_rows(outer, gradients.data(), last - first, s.width, of_gradient, count, Int(0));
          std::fill(sums.begin(), sums.end(), T(0));
          for (Int strip = 0; strip < strips; ++strip) {
            const Int left = strip * s.width / strips, columns = (strip + 1) * s.width / strips - left;
            for (Int h = 0; h < last - first; ++h) {
              const T* from = copied.data() + (h + s.above()) * row + (s.before() + left) * CHANNELS<T>;
              const T* given = gradients.data() + (h * s.width + left) * CHANNELS<T>;
              for (Int part = 0; part < parts; ++part) {
                const Int tap = part * taps / parts, number = (part + 1) * taps / parts - tap;
                const auto at = [first = own.offsets.data() + tap](Int n) { return first[n]; };
                BY_COUNT(number, sum_columns, from, given, at, sums.data() + tap * CHANNELS<T>, columns)
              }
            }
          }
          for (size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];  // in steps: long sums lose digits
        }
      for (const auto& p : own.places)
        if (p.weight >= 0) of_taps[group * weights + p.weight] = total[p.tap * CHANNELS<T> + p.lane];
    }
  }
}

}  // namespace

#define FUNCTIONS(T, NAME)                                                                                       \
  extern "C" void branches_##NAME(const T* x, const T* taps, const T* bias, T* y, const Int* z, int threads) {   \
    convolve(x, taps, z[2] ? bias : nullptr, y, z[0] != 0, z[1] != 0, Shape(z + 3), threads);                    \
  }                                                                                                              \
  extern "C" void branches_of_taps_##NAME(const T* gradient, const T* x, T* of_taps, const Int* z, int threads) { \
    correlate(gradient, x, of_taps, z[0], z[1], Shape(z + 2), threads);                                          \
  }

FUNCTIONS(float, float32)
FUNCTIONS(double, float64)
