// Deformable sums: each position and group of channels samples K points of the map, bilinearly, zero outside:
//
//     y[p, g] = sum over k of w[p, g, k] x[p + grid[k] + scale offset[p, g, k], g]
//
// value (B, H, W, groups, depth); offsets (B, H, W, groups, K, 2) as (x, y) and weights (B, H, W, groups, K), with
// contiguous last dimensions; grid (K, 2). The weights are a softmax of what is given, where that is asked for. The
// three may come from linear layers that have not added their biases: (groups, depth), (groups, K, 2) and (groups, K).
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
  const T *value_bias = nullptr, *offset_bias = nullptr, *weight_bias = nullptr;  // all or none
};

constexpr Int MOST_GROUPS = 16;  // whose points are found together
constexpr Int TOGETHER = 128;    // the fewest points to find at once: loops over less spend their time on their ends
constexpr Int EDGE = 2;          // how far outside of a map points may lie: the four tokens around a point there are zero

// A copy of a group's map, its tokens beside each other, with rows of zeros above and below and zeros between its rows.
struct Framed {
  Int height, width;

  Int across() const { return width + EDGE; }                       // tokens from one row to the next
  Int tokens() const { return (height + 2 * EDGE) * across() + EDGE; }
  Int place(Int token) const { return (token / width + EDGE) * across() + token % width + EDGE; }
};

// The points of some groups at some positions one after the other, with the first of the four tokens around each and
// their shares of the sum. All in whole blocks, for vector instructions.
template <typename T>
struct Points {
  const Int groups, places, each, blocks;  // points at each place
  T *column, *row, *plus, *left, *top, *offset, *x, *y, *right, *down, *weight, *share[4];
  std::int32_t* token;
  Buffer<T> memory;
  Buffer<std::int32_t> marks;

  Points(const Given<T>& given, const Shape& s, Int groups)
      : groups(groups),
        places((TOGETHER - 1) / (groups * s.points) + 1),
        each(groups * s.points),
        blocks(whole_blocks(places * each)) {
    // an odd number of pairs of lines: a load waits for an earlier store whose address ends in the same twelve bits
    const Int pairs = (blocks * Int(sizeof(T)) + 127) / 128 | 1, apart = 128 * pairs / Int(sizeof(T));
    memory.resize(16 * apart);
    marks.resize(blocks);
    T* next = memory.data();
    for (T** one : {&column, &row, &plus, &left, &top, &x, &y, &right, &down, &weight, &share[0], &share[1], &share[2],
                    &share[3]})
      *one = next, next += apart;
    offset = next;
    token = marks.data();
    begin(given, s, 0);
  }

  // With the groups from `group` on: where their points are without offsets, and what is added to their weights.
  void begin(const Given<T>& given, const Shape& s, Int group) {
    for (Int k = 0; k < places * each; ++k) {
      const Int point = group * s.points + k % each;
      column[k] = given.grid[2 * (k % s.points)];
      row[k] = given.grid[2 * (k % s.points) + 1];
      if (!given.weight_bias) continue;
      column[k] += given.scale * given.offset_bias[2 * point];
      row[k] += given.scale * given.offset_bias[2 * point + 1];
      plus[k] = given.weight_bias[point];
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
    if (given.weight_bias) {
      T* to = weight;
      const T* bias = plus;
#pragma omp simd
      for (Int k = 0; k < blocks; ++k) to[k] += bias[k];
    }
    if (s.softmax) s.points == 9 ? soften<9>(9, found) : soften<0>(s.points, found);
    move(given.scale);
    share_out(s);
  }

  void move(T scale) {
    const T *c = column, *r = row, *from_x = left, *from_y = top, *by = offset;
    T *to_x = x, *to_y = y;
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      to_x[k] = from_x[k] + (c[k] + scale * by[2 * k]);
      to_y[k] = from_y[k] + (r[k] + scale * by[2 * k + 1]);
    }
  }

  // A point that is further out than the edge is moved to its outer tokens, and one that is not a number is as well.
  void share_out(const Shape& s) {
    // copies: members might be what the loop writes to, for all that the compiler knows
    const std::int32_t across = std::int32_t(Framed{s.height, s.width}.across());
    const T width = T(s.width), height = T(s.height), outside = -T(EDGE);
    const T *px = x, *py = y, *w = weight;
    T *fx = right, *fy = down, *s0 = share[0], *s1 = share[1], *s2 = share[2], *s3 = share[3];
    std::int32_t* first = token;
#pragma omp simd
    for (Int k = 0; k < blocks; ++k) {
      T column = std::floor(px[k]), row = std::floor(py[k]);
      // not a number for an infinite position, as its shares are
      const T to_right = px[k] - column, to_below = py[k] - row;
      column = column > outside ? column : outside;
      row = row > outside ? row : outside;
      column = column < width ? column : width;
      row = row < height ? row : height;
      first[k] = (std::int32_t(row) + std::int32_t(EDGE)) * across + std::int32_t(column) + std::int32_t(EDGE);
      const T above = w[k] * (1 - to_below), below = w[k] * to_below;
      fx[k] = to_right;
      fy[k] = to_below;
      s0[k] = above * (1 - to_right);
      s1[k] = above * to_right;
      s2[k] = below * (1 - to_right);
      s3[k] = below * to_right;
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

// Of D channels, at points `first` to `last`; rows of the map are `row` values apart.
template <typename T, int D>
void sum_tokens(const T* map, Int row, const Points<T>& points, Int first, Int last, T* y, Int depth) {
  const T *s0 = points.share[0], *s1 = points.share[1], *s2 = points.share[2], *s3 = points.share[3];
  const std::int32_t* tokens = points.token;
  if constexpr (D == 0) {
    for (Int d = 0; d < depth; ++d) y[d] = 0;
    for (Int k = first; k < last; ++k) {
      const T *above = map + Int(tokens[k]) * depth, *below = above + row;
      for (Int d = 0; d < depth; ++d)
        y[d] += s0[k] * above[d] + s1[k] * above[depth + d] + s2[k] * below[d] + s3[k] * below[depth + d];
    }
  } else {
    Sums<T, D> sums[4];  // a sum waits for its last addition, four do not
    for (Int k = first; k < last; ++k) {
      const T *above = map + Int(tokens[k]) * D, *below = above + row;
      sums[0].add(s0[k], above);
      sums[1].add(s1[k], above + D);
      sums[2].add(s2[k], below);
      sums[3].add(s3[k], below + D);
    }
    sums[0].add(sums[1]);
    sums[2].add(sums[3]);
    sums[0].add(sums[2]);
    sums[0].put(y);
  }
}

// A job is some groups of an image, or some of the outputs of these where there are more threads.
template <typename T, int D>
void forward(const Given<T>& given, T* out, const Shape& s, int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth, tokens = s.height * s.width;
  const Framed map{s.height, s.width};
  const Int row = map.across() * depth, area = map.tokens() * depth;
  Int groups = std::min(s.groups, MOST_GROUPS);
  while (s.groups % groups) --groups;
  const Int maps = std::max<Int>(1, s.batch * (s.groups / groups)), parts = std::min((threads + maps - 1) / maps, tokens);
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(given, s, groups);
    Buffer<T> copied(groups * area);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * (s.groups / groups) * parts; ++job) {
      const Int image = job / parts / (s.groups / groups) * tokens, group = job / parts % (s.groups / groups) * groups;
      const Int begin = image + job % parts * tokens / parts, end = image + (job % parts + 1) * tokens / parts;
      if (given.weight_bias) points.begin(given, s, group);
      for (Int n = 0; n < tokens; ++n)
        for (Int g = 0; g < groups; ++g) {
          const T* from = given.value + (image + n) * dim + (group + g) * depth;
          T* to = copied.data() + g * area + map.place(n) * depth;
          if (given.value_bias) {
            const T* bias = given.value_bias + (group + g) * depth;
#pragma omp simd
            for (Int d = 0; d < depth; ++d) to[d] = from[d] + bias[d];
          } else {
            std::copy_n(from, depth, to);
          }
        }
      for (Int first = begin; first < end; first += points.places) {
        const Int last = std::min(first + points.places, end);
        points.find(given, s, first, last, group);
        for (Int g = 0; g < groups; ++g)
          for (Int token = first; token < last; ++token) {
            const Int point = ((token - first) * groups + g) * s.points;
            sum_tokens<T, D>(copied.data() + g * area, row, points, point, point + s.points,
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

// A thread has whole maps of one group, so that no two add to the same token.
template <typename T, int D>
void backward(const Given<T>& given, const T* gradient, T* of_value, T* of_offsets, T* of_weights, const Shape& s,
              int threads) {
  const Int depth = D ? D : s.depth, dim = s.groups * depth, tokens = s.height * s.width;
  const Framed framed{s.height, s.width};
  const Int step[4] = {0, depth, framed.across() * depth, (framed.across() + 1) * depth};
#pragma omp parallel num_threads(threads)
  {
    Points<T> points(given, s, 1);
    Buffer<T> map(framed.tokens() * depth), of_map(framed.tokens() * depth);
#pragma omp for schedule(static)
    for (Int job = 0; job < s.batch * s.groups; ++job) {
      const Int image = job / s.groups * tokens, group = job % s.groups;
      for (Int n = 0; n < tokens; ++n)
        std::copy_n(given.value + (image + n) * dim + group * depth, depth, map.data() + framed.place(n) * depth);
      std::fill(of_map.begin(), of_map.end(), T(0));
      for (Int token = image; token < image + tokens; ++token) {
        const Int place = (token - image) % points.places, start = place * s.points;
        if (place == 0) points.find(given, s, token, std::min(token + points.places, image + tokens), group);
        const T* up = gradient + token * dim + group * depth;
        T* of_offset = of_offsets + 2 * (token * s.groups + group) * s.points;
        T* of_weight = of_weights + (token * s.groups + group) * s.points;
        for (Int k = 0; k < s.points; ++k) {
          const Int point = start + k, first = Int(points.token[point]) * depth;
          const T w = points.weight[point], right = points.right[point], down = points.down[point];
          const auto found = [&](int i) {  // the product of the gradient with a token
            const Int at = first + step[i];
            return add_share<T, D>(map.data() + at, up, points.share[i][point], of_map.data() + at, depth);
          };
          const T f0 = found(0), f1 = found(1), f2 = found(2), f3 = found(3), reach = w * given.scale;
          of_weight[k] = (1 - down) * ((1 - right) * f0 + right * f1) + down * ((1 - right) * f2 + right * f3);
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
        std::copy_n(of_map.data() + framed.place(n) * depth, depth, of_value + (image + n) * dim + group * depth);
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
  extern "C" void biased_deformable_sums_##NAME(const TYPE* value, const TYPE* offsets, const TYPE* weights,           \
                                                const TYPE* grid, const TYPE* value_bias, const TYPE* offset_bias,     \
                                                const TYPE* weight_bias, TYPE* out, double scale, const Int* z,        \
                                                int threads) {                                                         \
    using T = TYPE;                                                                                                    \
    const Shape s{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7], z[8], z[9], z[10]};                                  \
    const Given<T> given{value, offsets, weights, grid, T(scale), value_bias, offset_bias, weight_bias};               \
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
