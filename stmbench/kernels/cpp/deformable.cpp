// Deformable sums: each position and group of channels samples K points of the map, bilinearly, zero outside:
//
//     y[p, g] = sum over k of w[p, g, k] x[p + grid[k] + scale offset[p, g, k], g]
//
// value (B, H, W, groups, depth); offsets (B, H, W, groups, K, 2) as (x, y) and weights (B, H, W, groups, K), with
// contiguous last dimensions; grid (K, 2). The weights are a softmax of what is given, where that is asked for.
#include "lanes.h"

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

// The points of some groups at one position, each with the four tokens around it: where they are in a map, in units of
// a group's channels, and their shares of the point. A token outside the map is the one at `outside`, and its share 0.
// All in whole blocks, for vector instructions.
template <typename T>
struct Points {
  const Int groups, count, blocks;
  const std::int32_t step, outside;  // from one token of the map to the next; what stands for others
  std::vector<T> column, row, x, y, right, down, weight, share[4];
  std::vector<std::int32_t> token[4];

  Points(const Given<T>& given, const Shape& s, Int groups, Int step, Int outside)
      : groups(groups),
        count(groups * s.points),
        blocks(whole_blocks(count)),
        step(std::int32_t(step)),
        outside(std::int32_t(outside)) {
    for (auto* each : {&column, &row, &x, &y, &right, &down, &weight}) each->resize(blocks);
    for (int i = 0; i < 4; ++i) share[i].resize(blocks), token[i].resize(blocks);
    for (Int k = 0; k < count; ++k) {
      column[k] = given.grid[2 * (k % s.points)];
      row[k] = given.grid[2 * (k % s.points) + 1];
    }
  }

  void find(const Given<T>& given, const Shape& s, Int place, Int group) {
    const T* offset = given.offsets + place * s.offset_token + group * s.offset_group;
    const T* from = given.weights + place * s.weight_token + group * s.weight_group;
    if (s.offset_group == 2 * s.points) {
      move(offset, given.scale, s, place, 0, count);
    } else {
      for (Int g = 0; g < groups; ++g) move(offset + g * s.offset_group, given.scale, s, place, g * s.points, s.points);
    }
    for (Int g = 0; g < groups; ++g)
      for (Int k = 0; k < s.points; ++k) weight[g * s.points + k] = from[g * s.weight_group + k];
    if (s.softmax) soften(s.points);
    corners(s);
  }

  void move(const T* offset, T scale, const Shape& s, Int place, Int first, Int length) {
    const T left = T(place % s.width), top = T(place / s.width % s.height);
    const T *c = column.data() + first, *r = row.data() + first;
    T *to_x = x.data() + first, *to_y = y.data() + first;
#pragma omp simd
    for (Int k = 0; k < length; ++k) {
      to_x[k] = left + c[k] + scale * offset[2 * k];
      to_y[k] = top + r[k] + scale * offset[2 * k + 1];
    }
  }

  void corners(const Shape& s) {
    const T width = T(s.width), height = T(s.height);
    // copies: members might be what the loop writes to, for all that the compiler knows
    const std::int32_t across = step, along = std::int32_t(s.width) * step, none = outside;
    const T *px = x.data(), *py = y.data();
    T *fx = right.data(), *fy = down.data();
    T *s0 = share[0].data(), *s1 = share[1].data(), *s2 = share[2].data(), *s3 = share[3].data();
    std::int32_t *t0 = token[0].data(), *t1 = token[1].data(), *t2 = token[2].data(), *t3 = token[3].data();
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      const T left = std::floor(px[k]), top = std::floor(py[k]), beside = left + 1, below = top + 1;
      // not a number for an infinite position, as its shares are
      const T to_right = px[k] - left, to_below = py[k] - top;
      const bool on_left = left >= 0 && left < width, on_right = beside >= 0 && beside < width;
      const bool on_top = top >= 0 && top < height, on_bottom = below >= 0 && below < height;
      const T w0 = (on_left ? T(1) : T(0)) * (1 - to_right), w1 = (on_right ? T(1) : T(0)) * to_right;
      const T h0 = (on_top ? T(1) : T(0)) * (1 - to_below), h1 = (on_bottom ? T(1) : T(0)) * to_below;
      const std::int32_t c0 = std::int32_t(on_left ? left : T(0)) * across;
      const std::int32_t c1 = std::int32_t(on_right ? beside : T(0)) * across;
      const std::int32_t r0 = std::int32_t(on_top ? top : T(0)) * along;
      const std::int32_t r1 = std::int32_t(on_bottom ? below : T(0)) * along;
      fx[k] = to_right;
      fy[k] = to_below;
      s0[k] = h0 * w0;
      s1[k] = h0 * w1;
      s2[k] = h1 * w0;
      s3[k] = h1 * w1;
      t0[k] = on_top & on_left ? r0 + c0 : none;
      t1[k] = on_top & on_right ? r0 + c1 : none;
      t2[k] = on_bottom & on_left ? r1 + c0 : none;
      t3[k] = on_bottom & on_right ? r1 + c1 : none;
    }
  }

  // The softmax of each group's weights.
  void soften(Int points) {
    T* w = weight.data();
    for (Int g = 0; g < count; g += points) {
      T largest = w[g];
      for (Int k = 1; k < points; ++k) largest = w[g + k] > largest ? w[g + k] : largest;
      for (Int k = 0; k < points; ++k) w[g + k] -= largest;
    }
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) w[k] = exponential(w[k]);
    for (Int g = 0; g < count; g += points) {
      T sum = 0;
      for (Int k = 0; k < points; ++k) sum += w[g + k];
      const T each = 1 / sum;
      for (Int k = 0; k < points; ++k) w[g + k] *= each;
    }
    for (Int k = count; k < blocks; ++k) w[k] = 0;  // and stays so: the next call's blocks begin with numbers
  }
};

template <typename T, int D>
void forward(const Given<T>& given, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth;
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(given, s, s.groups, s.groups, 0);
    const std::int32_t *t0 = points.token[0].data(), *t1 = points.token[1].data();
    const std::int32_t *t2 = points.token[2].data(), *t3 = points.token[3].data();
    const T *s0 = points.share[0].data(), *s1 = points.share[1].data(), *s2 = points.share[2].data();
    const T *s3 = points.share[3].data(), *weight = points.weight.data();
#pragma omp for schedule(static)
    for (Int token = 0; token < s.batch * s.height * s.width; ++token) {
      const T* image = given.value + token / (s.height * s.width) * s.height * s.width * dim;
      points.find(given, s, token, 0);
      for (Int group = 0; group < s.groups; ++group) {
        const T* map = image + group * depth;
        T* y = out + token * dim + group * depth;
        T local[D ? D : 1];
        T* sum = D ? local : y;  // in registers
        for (Int d = 0; d < depth; ++d) sum[d] = 0;
        for (Int k = group * s.points; k < (group + 1) * s.points; ++k) {
          const T *v0 = map + t0[k] * depth, *v1 = map + t1[k] * depth;
          const T *v2 = map + t2[k] * depth, *v3 = map + t3[k] * depth;
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

// The sum of D values, in pairs: in order it would wait for each addition.
template <typename T, int D>
T total(const T* x) {
  if constexpr (D < 2) {
    return D ? *x : T(0);
  } else {
    T half[D / 2];
#pragma omp simd
    for (int d = 0; d < D / 2; ++d) half[d] = x[d] + x[d + D / 2];
    return total<T, D / 2>(half);
  }
}

// Adds to a token's gradient its share of what came from above, and gives the product of that with the token.
template <typename T, int D>
T add_share(const T* token, const T* up, T share, T* of_token, Int depth) {
  if constexpr (D > 0) {
    T products[D];
#pragma omp simd
    for (Int d = 0; d < D; ++d) {
      products[d] = up[d] * token[d];
      of_token[d] += share * up[d];
    }
    return total<T, D>(products);
  } else {
    T product = 0;
    for (Int d = 0; d < depth; ++d) {
      product += up[d] * token[d];
      of_token[d] += share * up[d];
    }
    return product;
  }
}

// A thread has whole maps of one group, so that no two add to the same token. It works on a copy, whose tokens are
// beside each other in the cache, with one more for those outside.
template <typename T, int D>
void backward(const Given<T>& given, const T* gradient, T* of_value, T* of_offsets, T* of_weights, const Shape& s,
              int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth, tokens = s.height * s.width;
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(given, s, 1, 1, tokens);
    Buffer<T> map(tokens * depth + depth), of_map(tokens * depth + depth);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * s.groups; ++job) {
      const Int image = job / s.groups * tokens, group = job % s.groups;
      for (Int n = 0; n < tokens; ++n)
        std::copy_n(given.value + (image + n) * dim + group * depth, depth, map.data() + n * depth);
      std::fill(of_map.begin(), of_map.end(), T(0));
      for (Int token = image; token < image + tokens; ++token) {
        points.find(given, s, token, group);
        const T* up = gradient + token * dim + group * depth;
        T* of_offset = of_offsets + 2 * (token * s.groups + group) * s.points;
        T* of_weight = of_weights + (token * s.groups + group) * s.points;
        for (Int k = 0; k < s.points; ++k) {
          const T w = points.weight[k], right = points.right[k], down = points.down[k];
          const auto found = [&](int i) {  // the product of the gradient with a token
            const Int at = points.token[i][k] * depth;
            return add_share<T, D>(map.data() + at, up, w * points.share[i][k], of_map.data() + at, depth);
          };
          const T f0 = found(0), f1 = found(1), f2 = found(2), f3 = found(3), reach = w * given.scale;
          of_weight[k] = points.share[0][k] * f0 + points.share[1][k] * f1 + points.share[2][k] * f2;
          of_weight[k] += points.share[3][k] * f3;
          of_offset[2 * k] = reach * ((1 - down) * (f1 - f0) + down * (f3 - f2));
          of_offset[2 * k + 1] = reach * ((1 - right) * (f2 - f0) + right * (f3 - f1));
        }
        if (s.softmax) {
          T mean = 0;
          for (Int k = 0; k < s.points; ++k) mean += points.weight[k] * of_weight[k];
          for (Int k = 0; k < s.points; ++k) of_weight[k] = points.weight[k] * (of_weight[k] - mean);
        }
      }
      for (Int n = 0; n < tokens; ++n)
        std::copy_n(of_map.data() + n * depth, depth, of_value + (image + n) * dim + group * depth);
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
