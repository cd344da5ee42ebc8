// Deformable sums: each position and group of channels samples K points of the map, bilinearly, zero outside:
//
//     y[p, g] = sum over k of w[p, g, k] x[p + grid[k] + scale offset[p, g, k], g]
//
// value (B, H, W, groups, depth); offsets (B, H, W, groups, K, 2) as (x, y) and weights (B, H, W, groups, K), of which the
// last dimensions are contiguous; grid (K, 2). The weights are a softmax of what is given, where that is asked for.
#include "entry.h"

namespace {

struct Shape {
  Int batch, height, width, groups, points, depth;
  Int offset_token, offset_group, weight_token, weight_group;  // steps from one to the next
  Int softmax;
};

template <typename T>
struct Given {
  const T *value, *offsets, *weights, *grid;
  T scale;
};

// The points of one position and group.
template <typename T>
struct Points {
  std::vector<T> x, y, weight;

  explicit Points(Int count) : x(count), y(count), weight(whole_blocks(count)) {}

  void find(const Given<T>& given, const Shape& s, Int token, Int group) {
    const T* offset = given.offsets + token * s.offset_token + group * s.offset_group;
    const T column = T(token % s.width), row = T(token / s.width % s.height);
    for (Int k = 0; k < s.points; ++k) {
      x[k] = column + given.grid[2 * k] + given.scale * offset[2 * k];
      y[k] = row + given.grid[2 * k + 1] + given.scale * offset[2 * k + 1];
    }
    const T* from = given.weights + token * s.weight_token + group * s.weight_group;
    std::copy(from, from + s.points, weight.data());
    if (s.softmax) soften(s.points);
  }

  void soften(Int count) {
    const Int blocks = whole_blocks(count);
    T *w = weight.data(), largest = w[0], sum = 0;
    for (Int k = 1; k < count; ++k) largest = w[k] > largest ? w[k] : largest;
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) w[k] = exponential(w[k] - largest);
    for (Int k = 0; k < count; ++k) sum += w[k];
    const T share = 1 / sum;
    for (Int k = 0; k < count; ++k) w[k] *= share;
    for (Int k = count; k < blocks; ++k) w[k] = 0;  // and stays so: the next call's blocks begin with numbers
  }
};

// The four tokens around a point: where each begins in the map, and its share; a token outside the map has none.
template <typename T>
struct Corners {
  Int at[4];
  T share[4], right, down;
  bool inside[4];

  // False where all four are outside, and for a position that is no number.
  bool find(T x, T y, const Shape& s) {
    if (!(x > -1 && x < s.width && y > -1 && y < s.height)) return false;
    const T left = std::floor(x), top = std::floor(y);
    right = x - left, down = y - top;
    for (int i = 0; i < 4; ++i) {
      const Int column = Int(left) + (i & 1), row = Int(top) + (i >> 1);
      inside[i] = column >= 0 && column < s.width && row >= 0 && row < s.height;
      at[i] = inside[i] ? (row * s.width + column) * s.groups * s.depth : 0;
      share[i] = inside[i] ? ((i & 1) ? right : 1 - right) * ((i >> 1) ? down : 1 - down) : T(0);
    }
    return true;
  }
};

template <typename T, int D>
void forward(const Given<T>& given, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth;
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(s.points);
#pragma omp for schedule(static)
    for (Int token = 0; token < s.batch * s.height * s.width; ++token) {
      const T* image = given.value + token / (s.height * s.width) * s.height * s.width * dim;
      for (Int group = 0; group < s.groups; ++group) {
        points.find(given, s, token, group);
        const T* map = image + group * depth;
        T* y = out + token * dim + group * depth;
        T local[D ? D : 1];
        T* sum = D ? local : y;  // in registers
        for (Int d = 0; d < depth; ++d) sum[d] = 0;
        for (Int k = 0; k < s.points; ++k) {
          const T w = points.weight[k];
          Corners<T> c;
          if (!c.find(points.x[k], points.y[k], s)) {
            const T none = (points.x[k] + points.y[k] + w) * 0;  // not a number where one of them is none
            if (none != 0)
              for (Int d = 0; d < depth; ++d) sum[d] += none;
            continue;
          }
          const T *v0 = map + c.at[0], *v1 = map + c.at[1], *v2 = map + c.at[2], *v3 = map + c.at[3];
          const T w0 = w * c.share[0], w1 = w * c.share[1], w2 = w * c.share[2], w3 = w * c.share[3];
#pragma omp simd
          for (Int d = 0; d < depth; ++d) sum[d] += (w0 * v0[d] + w1 * v1[d]) + (w2 * v2[d] + w3 * v3[d]);
        }
        if (D)
          for (Int d = 0; d < depth; ++d) y[d] = sum[d];
      }
    }
  }
}

// A thread has whole maps of one group, so that no two add to the same token.
template <typename T, int D>
void backward(const Given<T>& given, const T* gradient, T* of_value, T* of_offsets, T* of_weights, const Shape& s,
              int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth, tokens = s.height * s.width;
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(s.points);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * s.groups; ++job) {
      const Int image = job / s.groups * tokens, group = job % s.groups;
      const T* map = given.value + image * dim + group * depth;
      T* of_map = of_value + image * dim + group * depth;
      for (Int n = 0; n < tokens; ++n)
        for (Int d = 0; d < depth; ++d) of_map[n * dim + d] = 0;
      for (Int token = image; token < image + tokens; ++token) {
        points.find(given, s, token, group);
        const T* up = gradient + token * dim + group * depth;
        T* of_offset = of_offsets + 2 * (token * s.groups + group) * s.points;
        T* of_weight = of_weights + (token * s.groups + group) * s.points;
        for (Int k = 0; k < s.points; ++k) {
          const T w = points.weight[k];
          Corners<T> c;
          if (!c.find(points.x[k], points.y[k], s)) {
            of_offset[2 * k] = of_offset[2 * k + 1] = of_weight[k] = (points.x[k] + points.y[k] + w) * 0;
            continue;
          }
          T found[4] = {0, 0, 0, 0};  // the product of the gradient with each token
          for (int i = 0; i < 4; ++i) {
            if (!c.inside[i]) continue;
            const T* v = map + c.at[i];
            T* ov = of_map + c.at[i];
            const T share = w * c.share[i];
            T product = 0;
#pragma omp simd reduction(+ : product)
            for (Int d = 0; d < depth; ++d) {
              product += up[d] * v[d];
              ov[d] += share * up[d];
            }
            found[i] = product;
          }
          const T reach = w * given.scale;
          of_weight[k] = c.share[0] * found[0] + c.share[1] * found[1] + c.share[2] * found[2] + c.share[3] * found[3];
          of_offset[2 * k] = reach * ((1 - c.down) * (found[1] - found[0]) + c.down * (found[3] - found[2]));
          of_offset[2 * k + 1] = reach * ((1 - c.right) * (found[2] - found[0]) + c.right * (found[3] - found[1]));
        }
        if (s.softmax) {
          T mean = 0;
          for (Int k = 0; k < s.points; ++k) mean += points.weight[k] * of_weight[k];
          for (Int k = 0; k < s.points; ++k) of_weight[k] = points.weight[k] * (of_weight[k] - mean);
        }
      }
    }
  }
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                              \
  extern "C" void deformable_sums_##NAME(const TYPE* value, const TYPE* offsets, const TYPE* weights, const TYPE* grid,\
                                         TYPE* out, double scale, const Int* z, int threads) {                         \
    using T = TYPE;                                                                                                    \
    const Shape s{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z[8], z[9], z[10]};                                  \
    const Given<T> given{value, offsets, weights, grid, T(scale)};                                                     \
    BY_LENGTH(s.depth, forward, given, out, s, threads)                                                                \
  }                                                                                                                    \
  extern "C" void deformable_sums_backward_##NAME(const TYPE* value, const TYPE* offsets, const TYPE* weights,         \
                                                  const TYPE* grid, const TYPE* gradient, TYPE* of_value,              \
                                                  TYPE* of_offsets, TYPE* of_weights, double scale, const Int* z,      \
                                                  int threads) {                                                       \
    using T = TYPE;                                                                                                    \
    const Shape s{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z[8], z[9], z[10]};                                  \
    const Given<T> given{value, offsets, weights, grid, T(scale)};                                                     \
    BY_LENGTH(s.depth, backward, given, gradient, of_value, of_offsets, of_weights, s, threads)                        \
  }

ENTRY(float32, float)
ENTRY(float64, double)
