// RoIAlign (He et al. 2017) by torchvision's rules. Maps (images, height, width, channels), one for each level; a region
// (image, x1, y1, x2, y2) in pixels; cuts (regions, bins, channels).
//
// A bin's samples stand on a grid, so its mean is the sum of row weight times column weight times the cell: both are
// found once for a region and hold for all of its channels.
#include "entry.h"

namespace {

constexpr Int AT_ONCE = 32;  // channels whose sums stay in registers

struct Shape {
  Int regions, channels, down, across, sampling, aligned, levels, images;
  const Int* sides;  // height and width of each level
};

template <typename T>
struct Axis {  // the cells that each bin takes along one axis, and their weights
  std::vector<Int> cells, ends;
  std::vector<T> weights;

  void add(Int cell, T weight) {
    const Int start = ends.back(), size = static_cast<Int>(cells.size());
    for (Int i = size; i-- > std::max(start, size - 2);)  // neighbouring samples share cells
      if (cells[i] == cell) {
        weights[i] += weight;
        return;
      }
    cells.push_back(cell);
    weights.push_back(weight);
  }

  void find(T low, T high, T scale, Int bins, Int side, Int sampling, bool aligned) {
    cells.clear();
    weights.clear();
    ends.assign(1, 0);
    const T shift = aligned ? T(0.5) : T(0), start = low * scale - shift;
    T length = high * scale - shift - start;
    if (!aligned) length = std::max(length, T(1));
    const T size = length / bins;
    // what is not finite has no samples, where torchvision would read outside of the map
    const bool sane = std::abs(length) < T(1e9);
    const Int count = !sane ? 0 : sampling > 0 ? sampling : static_cast<Int>(std::ceil(size));
    for (Int bin = 0; bin < bins; ++bin) {
      for (Int i = 0; i < count; ++i) {
        const T given = start + bin * size + (T(i) + T(0.5)) * size / count;
        if (!(given >= T(-1) && given <= T(side))) continue;
        const T at = std::max(given, T(0));
        const Int cell = std::min(static_cast<Int>(at), side - 1);
        const T beyond = cell < side - 1 ? at - cell : T(0);
        add(cell, (1 - beyond) / count);
        if (cell < side - 1) add(cell + 1, beyond / count);
      }
      ends.push_back(static_cast<Int>(cells.size()));
    }
  }
};

template <typename T, int N>
void gather(const T* map, Int line, Int token, const Axis<T>& y, const Axis<T>& x, Int i, Int j, T* out, Int length) {
  const Int n = N ? N : length;
  T fixed[N ? N : 1];
  T* sum = N ? fixed : out;
  for (Int c = 0; c < n; ++c) sum[c] = 0;
  for (Int a = y.ends[i]; a < y.ends[i + 1]; ++a)
    for (Int b = x.ends[j]; b < x.ends[j + 1]; ++b) {
      const T* cell = map + y.cells[a] * line + x.cells[b] * token;
      const T weight = y.weights[a] * x.weights[b];
#pragma omp simd
      for (Int c = 0; c < n; ++c) sum[c] += weight * cell[c];
    }
  if (N)
    for (Int c = 0; c < n; ++c) out[c] = sum[c];
}

template <typename T, int N>
void scatter(T* map, Int line, Int token, const Axis<T>& y, const Axis<T>& x, Int i, Int j, const T* of, Int length) {
  const Int n = N ? N : length;
  for (Int a = y.ends[i]; a < y.ends[i + 1]; ++a)
    for (Int b = x.ends[j]; b < x.ends[j + 1]; ++b) {
      T* cell = map + y.cells[a] * line + x.cells[b] * token;
      const T weight = y.weights[a] * x.weights[b];
#pragma omp simd
      for (Int c = 0; c < n; ++c) cell[c] += weight * of[c];
    }
}

// FUNCTION for each bin of a region, and each piece of the channels from `first` to `last`
#define BINS(FUNCTION, MAP, CUT)                                                                                       \
  for (Int i = 0; i < s.down; ++i)                                                                                     \
    for (Int j = 0; j < s.across; ++j) {                                                                               \
      const Int bin = ((region * s.down + i) * s.across + j) * s.channels;                                             \
      Int c = first;                                                                                                   \
      for (; c + AT_ONCE <= last; c += AT_ONCE)                                                                        \
        FUNCTION<T, AT_ONCE>(MAP + c, line, s.channels, y, x, i, j, CUT + bin + c, AT_ONCE);                           \
      if (c < last) FUNCTION<T, 0>(MAP + c, line, s.channels, y, x, i, j, CUT + bin + c, last - c);                    \
    }

template <typename T>
Int place(const T* box, T scale, Int height, Int width, const Shape& s, Axis<T>& y, Axis<T>& x) {
  y.find(box[2], box[4], scale, s.down, height, s.sampling, s.aligned);
  x.find(box[1], box[3], scale, s.across, width, s.sampling, s.aligned);
  return static_cast<Int>(box[0]) * height * width * s.channels;
}

template <typename T>
void cut(const T* const* maps, const T* regions, const Int* levels, const T* scales, T* out, const Shape& s,
         int threads) {
#pragma omp parallel num_threads(threads)
  {
    Axis<T> y, x;
#pragma omp for schedule(static)
    for (Int region = 0; region < s.regions; ++region) {
      const Int level = levels[region], height = s.sides[2 * level], width = s.sides[2 * level + 1];
      const T* map = maps[level] + place(regions + 5 * region, scales[level], height, width, s, y, x);
      const Int line = width * s.channels, first = 0, last = s.channels;
      BINS(gather, map, out)
    }
  }
}

// A thread has some channels of an image, so none adds where another one does, and the order of the sums is fixed.
template <typename T>
void cut_backward(const T* gradient, const T* regions, const Int* levels, const T* scales, T* const* maps,
                  const Shape& s, int threads) {
  const Int pieces = (s.channels + AT_ONCE - 1) / AT_ONCE;
#pragma omp parallel num_threads(threads)
  {
    Axis<T> y, x;
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < s.images * pieces; ++job) {
      const Int image = job / pieces, first = job % pieces * AT_ONCE, last = std::min(s.channels, first + AT_ONCE);
      for (Int region = 0; region < s.regions; ++region) {
        if (static_cast<Int>(regions[5 * region]) != image) continue;
        const Int level = levels[region], height = s.sides[2 * level], width = s.sides[2 * level + 1];
        T* map = maps[level] + place(regions + 5 * region, scales[level], height, width, s, y, x);
        const Int line = width * s.channels;
        BINS(scatter, map, gradient)
      }
    }
  }
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void roi_align_##NAME(const TYPE* regions, const TYPE* const* maps, const Int* levels,                 \
                                     const TYPE* scales, TYPE* out, const Int* z, int threads) {                      \
    cut(maps, regions, levels, scales, out, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z + 8}, threads);   \
  }                                                                                                                   \
  extern "C" void roi_align_backward_##NAME(const TYPE* gradient, const TYPE* regions, const Int* levels,           \
                                              const TYPE* scales, TYPE* const* maps, const Int* z, int threads) {     \
    cut_backward(gradient, regions, levels, scales, maps,                                                             \
                 Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z + 8}, threads);                              \
  }

ENTRY(float32, float)
ENTRY(float64, double)
