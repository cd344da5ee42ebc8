// Sums over a K x K neighbourhood with weights of its own at every position, zero outside the map:
//
//     y[p, c] = sum over taps t of w[p, g(c), t] v[p + offset(t), c]
//
// value (B, H, W, C), weights (B, H, W, groups, K * K), taps row by row. A group is C / groups neighbouring channels; see
// interleaved.cpp for others.
#include "lanes.h"

namespace {

struct Shape {
  Int batch, height, width, dim, groups, side;

  Int taps() const { return side * side; }
  Int image_of(Int position) const { return position / (height * width) * height * width * dim; }  // where it begins
};

// The taps of a position that are inside the map: their numbers, and where their tokens begin.
struct Inside {
  std::vector<Int> tap, row, at;
  Int count = 0;

  explicit Inside(const Shape& s) : tap(s.taps()), row(s.taps()), at(s.taps()) {}

  void find(const Shape& s, Int y, Int x) {
    const Int radius = s.side / 2;
    count = 0;
    for (Int i = std::max<Int>(0, radius - y); i < std::min(s.side, s.height + radius - y); ++i)
      for (Int j = std::max<Int>(0, radius - x); j < std::min(s.side, s.width + radius - x); ++j) {
        tap[count] = i * s.side + j;
        row[count] = y + i - radius;
        at[count] = (row[count] * s.width + x + j - radius) * s.dim;
        ++count;
      }
  }
};

// Call `visit(p, inside)` for every position p and its taps; each thread has a copy of `visit`, with its own buffers.
template <typename Visit>
void every_position(const Shape& s, int threads, const Visit& visit) {
#pragma omp parallel num_threads(threads)
  {
    Inside inside(s);
    Visit own = visit;
#pragma omp for schedule(static)
    for (Int line = 0; line < s.batch * s.height; ++line)
      for (Int x = 0; x < s.width; ++x) {
        inside.find(s, line % s.height, x);
        own(line * s.width + x, inside);
      }
  }
}

// Of D channels of a group, at one position; gives D
template <typename T, int D>
Int sum_some(const T* map, const T* weights, T* y, const Inside& inside) {
  Sums<T, D> sums;
  for (Int i = 0; i < inside.count; ++i) sums.add(weights[inside.tap[i]], map + inside.at[i]);
  sums.put(y);
  return D;
}

template <typename T, int D>
void grouped(const T* value, const T* weights, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.dim / s.groups;
  every_position(s, threads, [=](Int p, const Inside& inside) {
    const T* image = value + s.image_of(p);
    for (Int g = 0; g < s.groups; ++g) {
      const T *w = weights + (p * s.groups + g) * s.taps(), *map = image + g * depth;
      T* y = out + p * s.dim + g * depth;
      for (Int d = 0; d < depth;) {
        if constexpr (D > 0) {
          d += sum_some<T, D>(map, w, y, inside);
        } else {  // the largest number of channels that is left
          const Int left = depth - d;
          d += left >= 32   ? sum_some<T, 32>(map + d, w, y + d, inside)
               : left >= 16 ? sum_some<T, 16>(map + d, w, y + d, inside)
               : left >= 8  ? sum_some<T, 8>(map + d, w, y + d, inside)
               : left >= 4  ? sum_some<T, 4>(map + d, w, y + d, inside)
                            : sum_some<T, 1>(map + d, w, y + d, inside);
        }
      }
    }
  });
}

// Rows of an image that one thread has in a backward pass.
struct Band {
  Int image, start, end;

  Band(const Shape& s, Int job, Int bands)
      : image(job / bands), start(job % bands * s.height / bands), end((job % bands + 1) * s.height / bands) {}

  bool has(Int row) const { return row >= start && row < end; }
};

// The backward passes: a thread goes through the positions whose taps reach its band, in order, and adds to the gradients
// of the band's values alone, which begin at zero. The sums are the same for any number of bands. `visit(p, mine, band,
// inside)` is called for each position p; `mine` is whether it is in the band, and its weights' gradients the thread's.
template <typename T, typename Visit>
void every_band(T* of_value, const Shape& s, int threads, const Visit& visit) {
  const Int wanted = (threads + s.batch - 1) / std::max<Int>(1, s.batch), radius = s.side / 2;
  const Int bands = std::max<Int>(1, std::min<Int>(s.height, wanted)), row = s.width * s.dim;
#pragma omp parallel num_threads(threads)
  {
    Inside inside(s);
    Visit own = visit;
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * bands; ++job) {
      const Band band(s, job, bands);
      T* image = of_value + band.image * s.height * row;
      std::fill(image + band.start * row, image + band.end * row, T(0));
      for (Int y = std::max<Int>(0, band.start - radius); y < std::min(s.height, band.end + radius); ++y)
        for (Int x = 0; x < s.width; ++x) {
          inside.find(s, y, x);
          own((band.image * s.height + y) * s.width + x, band.has(y), band, inside);
        }
    }
  }
}

template <typename T, int D>
void grouped_backward(const T* value, const T* weights, const T* gradient, T* of_value, T* of_weights, const Shape& s,
                      int threads) {
  const Int depth = D ? D : s.dim / s.groups;
  every_band(of_value, s, threads, [=](Int p, bool mine, const Band& band, const Inside& inside) {
    const Int first = s.image_of(p);
    for (Int g = 0; g < s.groups; ++g) {
      const T *w = weights + (p * s.groups + g) * s.taps(), *up = gradient + p * s.dim + g * depth;
      const T* map = value + first + g * depth;
      T *of_map = of_value + first + g * depth, *of_w = of_weights + (p * s.groups + g) * s.taps();
      if (mine) std::fill(of_w, of_w + s.taps(), T(0));
      for (Int i = 0; i < inside.count; ++i) {
        if (mine) {
          const T* v = map + inside.at[i];
          T product = 0;
#pragma omp simd reduction(+ : product)
          for (Int d = 0; d < depth; ++d) product += up[d] * v[d];
          of_w[inside.tap[i]] = product;
        }
        if (band.has(inside.row[i])) {
          const T weight = w[inside.tap[i]];
          T* ov = of_map + inside.at[i];
#pragma omp simd
          for (Int d = 0; d < depth; ++d) ov[d] += weight * up[d];
        }
      }
    }
  });
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void grouped_sums_##NAME(const TYPE* value, const TYPE* weights, TYPE* out, const Int* sizes,            \
                                      int threads) {                                                                  \
    using T = TYPE;                                                                                                   \
    const Shape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};                                        \
    BY_LENGTH(s.dim / s.groups, grouped, value, weights, out, s, threads)                                             \
  }                                                                                                                   \
  extern "C" void grouped_sums_backward_##NAME(const TYPE* value, const TYPE* weights, const TYPE* gradient,          \
                                               TYPE* of_value, TYPE* of_weights, const Int* sizes, int threads) {     \
    using T = TYPE;                                                                                                   \
    const Shape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};                                        \
    BY_LENGTH(s.dim / s.groups, grouped_backward, value, weights, gradient, of_value, of_weights, s, threads)         \
  }

ENTRY(float32, float)
ENTRY(float64, double)
