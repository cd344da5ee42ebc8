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

constexpr Int MOST_GROUPS = 16;  // whose points are found together
constexpr Int TOGETHER = 128;    // the fewest points to find at once: loops over less spend their time on their ends

// The points of some groups at some positions one after the other, each with the four tokens around it: where they are
// in a map, in units of `step`, and their shares of the point. A token outside the map is the one at `outside`, and its
// share 0. All in whole blocks, for vector instructions.
template <typename T>
struct Points {
  const Int groups, places, each, blocks;  // points at each place
  const std::int32_t step, outside;  // from one token of the map to the next; what stands for others
  T *column, *row, *left, *top, *offset, *x, *y, *right, *down, *weight, *share[4];
  std::int32_t* token[4];
  Buffer<T> memory;
  Buffer<std::int32_t> marks;

  Points(const Given<T>& given, const Shape& s, Int groups, Int step, Int outside)
      : groups(groups),
        places((TOGETHER - 1) / (groups * s.points) + 1),
        each(groups * s.points),
        blocks(whole_blocks(places * each)),
        step(std::int32_t(step)),
        outside(std::int32_t(outside)) {
    // an odd number of pairs of lines: a load waits for an earlier store whose address ends in the same twelve bits
    const Int pairs = (blocks * Int(sizeof(T)) + 127) / 128 | 1, apart = 128 * pairs / Int(sizeof(T));
    memory.resize(15 * apart);
    marks.resize(4 * apart);
    T* next = memory.data();
    for (T** one : {&column, &row, &left, &top, &x, &y, &right, &down, &weight, &share[0], &share[1], &share[2], &share[3]})
      *one = next, next += apart;
    offset = next;
    for (int i = 0; i < 4; ++i) token[i] = marks.data() + i * apart;
    for (Int k = 0; k < places * each; ++k) {
      column[k] = given.grid[2 * (k % s.points)];
      row[k] = given.grid[2 * (k % s.points) + 1];
    }
  }

  // Those of places `first` to `last`, at most as many as there is room for.
  void find(const Given<T>& given, const Shape& s, Int first, Int last, Int group) {
    const bool together = s.offset_group == 2 * s.points && s.weight_group == s.points;
    const Int parts = together ? 1 : groups, length = each / parts;  // what lies beside each other
    for (Int place = first; place < last; ++place) {
      const Int start = (place - first) * each;
      const T* offsets = given.offsets + place * s.offset_token + group * s.offset_group;
      const T* weights = given.weights + place * s.weight_token + group * s.weight_group;
      for (Int part = 0; part < parts; ++part) {
        std::copy_n(offsets + part * s.offset_group, 2 * length, offset + 2 * (start + part * length));
        std::copy_n(weights + part * s.weight_group, length, weight + start + part * length);
      }
      std::fill_n(left + start, each, T(place % s.width));
      std::fill_n(top + start, each, T(place / s.width % s.height));
    }
    const Int found = (last - first) * each;
    if (s.softmax) s.points == 9 ? soften<9>(9, found) : soften<0>(s.points, found);
    move(given.scale);
    corners(s);
  }

  void move(T scale) {
    const T *c = column, *r = row, *from_x = left, *from_y = top, *by = offset;
    T *to_x = x, *to_y = y;
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      to_x[k] = from_x[k] + c[k] + scale * by[2 * k];
      to_y[k] = from_y[k] + r[k] + scale * by[2 * k + 1];
    }
  }

  void corners(const Shape& s) {
    const T width = T(s.width), height = T(s.height);
    // copies: members might be what the loop writes to, for all that the compiler knows
    const std::int32_t across = step, along = std::int32_t(s.width) * step, none = outside;
    const T *px = x, *py = y;
    T *fx = right, *fy = down;
    T *s0 = share[0], *s1 = share[1], *s2 = share[2], *s3 = share[3];
    std::int32_t *t0 = token[0], *t1 = token[1], *t2 = token[2], *t3 = token[3];
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

  // The four tokens of a point beside each other, with their shares of the sum.
  void interleave(std::int32_t* tokens, T* shares) const {
    const T *w = weight, *s0 = share[0], *s1 = share[1], *s2 = share[2], *s3 = share[3];
    const std::int32_t *t0 = token[0], *t1 = token[1], *t2 = token[2], *t3 = token[3];
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      shares[4 * k] = w[k] * s0[k];
      shares[4 * k + 1] = w[k] * s1[k];
      shares[4 * k + 2] = w[k] * s2[k];
      shares[4 * k + 3] = w[k] * s3[k];
      tokens[4 * k] = t0[k];
      tokens[4 * k + 1] = t1[k];
      tokens[4 * k + 2] = t2[k];
      tokens[4 * k + 3] = t3[k];
    }
  }

  // The softmax of each group's weights. A usual number of points is known to the compiler: short loops cost more than
  // what is in them.
  template <int K>
  void soften(Int given, Int count) {
    const Int points = K ? K : given;
    T* w = weight;
    for (Int k = count; k < blocks; ++k) w[k] = 0;  // what earlier places left
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
  }
};

// Of D channels, at `count` points: `places` and `shares` of their four tokens lie beside each other.
template <typename T, int D>
void sum_tokens(const T* map, const std::int32_t* places, const T* shares, Int count, T* y, Int depth) {
  if constexpr (D == 0) {
    for (Int d = 0; d < depth; ++d) y[d] = 0;
    for (Int k = 0; k < 4 * count; ++k) {
      const T* token = map + places[k];
      for (Int d = 0; d < depth; ++d) y[d] += shares[k] * token[d];
    }
  } else {
    Sums<T, D> sums[2];  // a sum waits for its last addition, two do not
    for (Int k = 0; k < 4 * count; k += 2) {
      sums[0].add(shares[k], map + places[k]);
      sums[1].add(shares[k + 1], map + places[k + 1]);
    }
    sums[0].add(sums[1]);
    sums[0].put(y);
  }
}

// A job is some groups of an image, or some of the outputs of these where there are more threads. It works on copies of
// their maps, whose tokens are beside each other in the cache, each with one more for those outside.
template <typename T, int D>
void forward(const Given<T>& given, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth, tokens = s.height * s.width, area = (tokens + 1) * depth;
  Int groups = std::min(s.groups, MOST_GROUPS);
  while (s.groups % groups) --groups;
  const Int maps = std::max<Int>(1, s.batch * (s.groups / groups)), parts = std::min((threads + maps - 1) / maps, tokens);
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(given, s, groups, depth, tokens * depth);
    std::vector<std::int32_t> places(4 * points.blocks);
    std::vector<T> shares(4 * points.blocks);
    Buffer<T> copied(groups * area);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * (s.groups / groups) * parts; ++job) {
      const Int image = job / parts / (s.groups / groups) * tokens, group = job / parts % (s.groups / groups) * groups;
      const Int begin = image + job % parts * tokens / parts, end = image + (job % parts + 1) * tokens / parts;
      for (Int n = 0; n < tokens; ++n)
        for (Int g = 0; g < groups; ++g)
          std::copy_n(given.value + (image + n) * dim + (group + g) * depth, depth, copied.data() + g * area + n * depth);
      for (Int first = begin; first < end; first += points.places) {
        const Int last = std::min(first + points.places, end);
        points.find(given, s, first, last, group);
        points.interleave(places.data(), shares.data());
        for (Int g = 0; g < groups; ++g)
          for (Int token = first; token < last; ++token) {
            const Int point = 4 * ((token - first) * groups + g) * s.points;
            sum_tokens<T, D>(copied.data() + g * area, places.data() + point, shares.data() + point, s.points,
                             out + token * dim + (group + g) * depth, depth);
          }
      }
    }
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
        const Int place = (token - image) % points.places, start = place * s.points;
        if (place == 0) points.find(given, s, token, std::min(token + points.places, image + tokens), group);
        const T* up = gradient + token * dim + group * depth;
        T* of_offset = of_offsets + 2 * (token * s.groups + group) * s.points;
        T* of_weight = of_weights + (token * s.groups + group) * s.points;
        for (Int k = 0; k < s.points; ++k) {
          const Int point = start + k;
          const T w = points.weight[point], right = points.right[point], down = points.down[point];
          const auto found = [&](int i) {  // the product of the gradient with a token
            const Int at = points.token[i][point] * depth;
            return add_share<T, D>(map.data() + at, up, w * points.share[i][point], of_map.data() + at, depth);
          };
          const T f0 = found(0), f1 = found(1), f2 = found(2), f3 = found(3), reach = w * given.scale;
          of_weight[k] = points.share[0][point] * f0 + points.share[1][point] * f1 + points.share[2][point] * f2;
          of_weight[k] += points.share[3][point] * f3;
          of_offset[2 * k] = reach * ((1 - down) * (f1 - f0) + down * (f3 - f2));
          of_offset[2 * k + 1] = reach * ((1 - right) * (f2 - f0) + right * (f3 - f1));
        }
        if (s.softmax) {
          T mean = 0;
          for (Int k = 0; k < s.points; ++k) mean += points.weight[start + k] * of_weight[k];
          for (Int k = 0; k < s.points; ++k) of_weight[k] = points.weight[start + k] * (of_weight[k] - mean);
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
