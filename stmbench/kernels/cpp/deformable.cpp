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

// The points of one position and group, each with the four tokens around it: where they are, and their shares of it. A
// token outside the map has none, and the place of one inside. All in whole blocks, for vector instructions.
template <typename T>
struct Points {
  Int blocks;
  std::vector<T> x, y, right, down, weight, share[4], inside[4];
  std::vector<std::int32_t> token[4];

  explicit Points(Int count)
      : blocks(whole_blocks(count)), x(blocks), y(blocks), right(blocks), down(blocks), weight(blocks) {
    for (int i = 0; i < 4; ++i) share[i].resize(blocks), inside[i].resize(blocks), token[i].resize(blocks);
  }

  void find(const Given<T>& given, const Shape& s, Int place, Int group) {
    const T* offset = given.offsets + place * s.offset_token + group * s.offset_group;
    const T column = T(place % s.width), row = T(place / s.width % s.height);
    for (Int k = 0; k < s.points; ++k) {
      x[k] = column + given.grid[2 * k] + given.scale * offset[2 * k];
      y[k] = row + given.grid[2 * k + 1] + given.scale * offset[2 * k + 1];
    }
    const T* from = given.weights + place * s.weight_token + group * s.weight_group;
    std::copy(from, from + s.points, weight.data());
    if (s.softmax) soften(s.points);
    corners(s);
  }

  void corners(const Shape& s) {
    const T width = T(s.width), height = T(s.height);
    const T *px = x.data(), *py = y.data();
    T *fx = right.data(), *fy = down.data();
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      fx[k] = px[k] - std::floor(px[k]);  // not a number for an infinite position, as its shares are
      fy[k] = py[k] - std::floor(py[k]);
    }
    for (int i = 0; i < 4; ++i) {
      const T across = T(i & 1), along = T(i >> 1);
      T *in = inside[i].data(), *part = share[i].data();
      std::int32_t* at = token[i].data();
#pragma omp simd
      for (Int k = 0; k < blocks; ++k) {
        const T left = std::floor(px[k]) + across, top = std::floor(py[k]) + along;
        const bool known = left >= 0 && left < width && top >= 0 && top < height;
        in[k] = known ? T(1) : T(0);
        at[k] = std::int32_t(known ? top : T(0)) * std::int32_t(s.width) + std::int32_t(known ? left : T(0));
        part[k] = in[k] * (across > 0 ? fx[k] : 1 - fx[k]) * (along > 0 ? fy[k] : 1 - fy[k]);
      }
    }
  }

  void soften(Int count) {
    T *w = weight.data(), largest = w[0], sum = 0;
    for (Int k = 1; k < count; ++k) largest = w[k] > largest ? w[k] : largest;
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) w[k] = exponential(w[k] - largest);
    for (Int k = 0; k < count; ++k) sum += w[k];
    const T each = 1 / sum;
    for (Int k = 0; k < count; ++k) w[k] *= each;
    for (Int k = count; k < blocks; ++k) w[k] = 0;  // and stays so: the next call's blocks begin with numbers
  }
};

template <typename T, int D>
void forward(const Given<T>& given, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth;
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(s.points);
    const std::int32_t *t0 = points.token[0].data(), *t1 = points.token[1].data();
    const std::int32_t *t2 = points.token[2].data(), *t3 = points.token[3].data();
    const T *s0 = points.share[0].data(), *s1 = points.share[1].data(), *s2 = points.share[2].data();
    const T *s3 = points.share[3].data(), *weight = points.weight.data();
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
          const T *v0 = map + t0[k] * dim, *v1 = map + t1[k] * dim, *v2 = map + t2[k] * dim, *v3 = map + t3[k] * dim;
          const T w = weight[k], w0 = w * s0[k], w1 = w * s1[k], w2 = w * s2[k], w3 = w * s3[k];
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
          const T w = points.weight[k], right = points.right[k], down = points.down[k];
          T found[4] = {0, 0, 0, 0};  // the product of the gradient with each token
          for (int i = 0; i < 4; ++i) {
            if (points.inside[i][k] == 0) continue;
            const T* v = map + points.token[i][k] * dim;
            T* ov = of_map + points.token[i][k] * dim;
            const T share = w * points.share[i][k];
            T product = 0;
#pragma omp simd reduction(+ : product)
            for (Int d = 0; d < depth; ++d) {
              product += up[d] * v[d];
              ov[d] += share * up[d];
            }
            found[i] = product;
          }
          const T reach = w * given.scale;
          of_weight[k] = 0;
          for (int i = 0; i < 4; ++i) of_weight[k] += points.share[i][k] * found[i];
          of_offset[2 * k] = reach * ((1 - down) * (found[1] - found[0]) + down * (found[3] - found[2]));
          of_offset[2 * k + 1] = reach * ((1 - right) * (found[2] - found[0]) + right * (found[3] - found[1]));
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
