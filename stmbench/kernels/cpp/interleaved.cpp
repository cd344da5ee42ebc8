// Sums over a K x K neighbourhood with weights of its own at every position, zero outside the map, of groups of channels that
// interleave:
//
//     y[p, c] = sum over taps t of w[p, g(c), t] v[p + offset(t), c]
//
// value (B, H, W, C), weights (B, H, W, groups, K * K), taps row by row; channel c of each of `halves` parts of the channels
// belongs to group c mod (groups / halves) of the part.
//
// A tile is the weights of one tap and part at one position, repeated: from c mod own on, of `own` groups, it has those of
// the channels from c on, for a whole vector.
#include "lanes.h"

namespace {

struct Shape {
  Int batch, height, width, dim, groups, side, halves;

  Int taps() const { return side * side; }
  Int own() const { return groups / halves; }  // groups of a half
  Int half() const { return dim / halves; }
  Int lines() const { return batch * height; }  // rows of all images
};

// Rows of tiles, for the last `side` lines that were asked for.
template <typename T>
class Tiles {
  const Shape& s;
  const T* weights;
  Int length;  // of a tile, with room for a vector
  Buffer<T> tiles;
  std::vector<Int> lines;

 public:
  Tiles(const Shape& s, const T* weights)
      : s(s),
        weights(weights),
        length(whole_blocks(s.own() + LANES<T>)),
        tiles(s.side * s.width * s.halves * s.taps() * length),
        lines(s.side, -1) {}

  // Make sure that those of a line are there; it is done before they are read: a load waits for stores that it lies across.
  void need(Int line) {
    if (lines[line % s.side] == line) return;
    lines[line % s.side] = line;
    const Int own = s.own();
    for (Int x = 0; x < s.width; ++x)
      for (Int h = 0; h < s.halves; ++h) {
        const T* from = weights + ((line * s.width + x) * s.halves + h) * own * s.taps();
        T* to = at(line, x, h);
        for (Int t = 0; t < s.taps(); ++t, to += length) {
          for (Int g = 0; g < own; ++g) to[g] = from[g * s.taps() + t];
          for (Int g = own; g < own + LANES<T>; ++g) to[g] = to[g - own];
        }
      }
  }

  // That of the first tap
  T* at(Int line, Int x, Int half) {
    return tiles.data() + ((line % s.side * s.width + x) * s.halves + half) * s.taps() * length;
  }
  Int step() const { return length; }  // from one tap to the next
};

// For each tap, a tile and the channels that it is for.
template <typename T>
struct Terms {
  std::vector<const T*> tiles, maps;

  explicit Terms(const Shape& s) : tiles(s.taps()), maps(s.taps()) {}
};

// `sums` of N vectors of channels, from `first` on, over the taps
template <typename T, int N>
void sum_some(const Terms<T>& terms, T* sums, Int first, Int own, Int taps) {
  Int phase[N];
  for (int n = 0; n < N; ++n) phase[n] = (first + n * LANES<T>) % own;
  Lanes<T> sum[N] = {};
  for (Int t = 0; t < taps; ++t) {
    const T *tile = terms.tiles[t], *map = terms.maps[t] + first;
#pragma GCC unroll 6
    for (int n = 0; n < N; ++n) sum[n] += load(tile + phase[n]) * load(map + n * LANES<T>);
  }
#pragma GCC unroll 6
  for (int n = 0; n < N; ++n) store(sums + first + n * LANES<T>, sum[n]);
}

template <typename T>
void sum_terms(const Terms<T>& terms, T* sums, Int channels, Int own, Int taps) {
  const Int whole = channels / LANES<T>;
  for (Int n = 0; n < whole; n += MOST) BY_COUNT(whole - n, sum_some, terms, sums, n * LANES<T>, own, taps)
  for (Int c = whole * LANES<T>; c < channels; ++c) {
    sums[c] = 0;
    for (Int t = 0; t < taps; ++t) sums[c] += terms.tiles[t][c % own] * terms.maps[t][c];
  }
}

// Where taps are: call `visit(tap, line, x)` with x < 0 for those outside of the image. `sign` is 1, or -1 for the positions
// whose taps they are.
template <typename Visit>
void every_tap(const Shape& s, Int line, Int x, Int sign, const Visit& visit) {
  const Int radius = s.side / 2, row = line % s.height;
  for (Int t = 0; t < s.taps(); ++t) {
    const Int down = sign * (t / s.side - radius), across = x + sign * (t % s.side - radius);
    const bool is_inside = row + down >= 0 && row + down < s.height && across >= 0 && across < s.width;
    visit(t, line + down, is_inside ? across : -1);
  }
}

// work(first line, end) for each thread
template <typename Work>
void share_lines(const Shape& s, int threads, const Work& work) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; ++thread)
    work(s.lines() * thread / threads, s.lines() * (thread + 1) / threads);
}

template <typename T>
void interleaved(const T* value, const T* weights, T* out, const Shape& s, int threads) {
  share_lines(s, threads, [=](Int begin, Int end) {
    Tiles<T> tiles(s, weights);
    Terms<T> terms(s);
    const Buffer<T> zeros(s.dim);
    for (Int line = begin; line < end; ++line) {
      tiles.need(line);
      for (Int x = 0; x < s.width; ++x)
        for (Int h = 0; h < s.halves; ++h) {
          every_tap(s, line, x, 1, [&](Int t, Int row, Int column) {
            terms.tiles[t] = tiles.at(line, x, h) + t * tiles.step();
            terms.maps[t] = column < 0 ? zeros.data() : value + (row * s.width + column) * s.dim + h * s.half();
          });
          sum_terms(terms, out + (line * s.width + x) * s.dim + h * s.half(), s.half(), s.own(), s.taps());
        }
    }
  });
}

// To `sums` of N taps, `step` values apart, from `first` of the groups on: over the channels of a group, of `gradient` times
// what the tap finds. There may be anything in what is read beyond the groups.
template <typename T, int N>
void products(const T* gradient, const T* const* maps, T* sums, Int step, Int first, Int own, Int channels) {
  Lanes<T> sum[N] = {};
  for (Int c = first; c < channels; c += own) {
    const Lanes<T> above = load(gradient + c);
#pragma GCC unroll 9
    for (int n = 0; n < N; ++n) sum[n] += above * load(maps[n] + c);
  }
  for (int n = 0; n < N; ++n) store(sums + n * step + first, sum[n]);
}

// A map whose positions may be read a vector too far: the last ones are copies.
template <typename T>
class End {
  const T* map;
  Int dim, first;  // position that is a copy
  Buffer<T> copy;

 public:
  End(const T* map, const Shape& s) : map(map), dim(s.dim) {
    const Int positions = s.lines() * s.width, kept = std::min(positions, 1 + (LANES<T> - 1) / std::max<Int>(1, dim));
    first = positions - kept;
    copy.resize(kept * dim + LANES<T>);
    std::copy_n(map + first * dim, kept * dim, copy.data());
  }

  const T* at(Int position) const {
    return position < first ? map + position * dim : copy.data() + (position - first) * dim;
  }
};

template <typename T>
void interleaved_backward(const T* value, const T* weights, const T* gradient, T* of_value, T* of_weights, const Shape& s,
                          int threads) {
  constexpr Int AT_ONCE = 9;  // taps, whose sums are in registers
  const Int own = s.own(), taps = s.taps(), step = whole_blocks(own) + LANES<T>;
  const End<T> values(value, s), gradients(gradient, s);
  share_lines(s, threads, [=, &values, &gradients](Int begin, Int end) {
    const Int radius = s.side / 2;
    Tiles<T> tiles(s, weights);
    Terms<T> terms(s);
    Buffer<T> sums(taps * step);
    const Buffer<T> zeros(s.dim + 2 * LANES<T>);  // also for a tile
    for (Int line = begin; line < end; ++line) {
      const Int image = line / s.height * s.height;
      for (Int row = std::max(image, line - radius); row <= std::min(image + s.height - 1, line + radius); ++row)
        tiles.need(row);
      for (Int x = 0; x < s.width; ++x)
        for (Int h = 0; h < s.halves; ++h) {
          const Int here = line * s.width + x, part = h * s.half();
          every_tap(s, line, x, -1, [&](Int t, Int row, Int column) {
            terms.tiles[t] = column < 0 ? zeros.data() : tiles.at(row, column, h) + t * tiles.step();
            terms.maps[t] = column < 0 ? zeros.data() : gradient + (row * s.width + column) * s.dim + part;
          });
          sum_terms(terms, of_value + here * s.dim + part, s.half(), own, taps);
          every_tap(s, line, x, 1, [&](Int t, Int row, Int column) {
            terms.maps[t] = column < 0 ? zeros.data() : values.at(row * s.width + column) + part;
          });
          const T* above = gradients.at(here) + part;
          for (Int first = 0; first < own; first += LANES<T>) {
            Int t = 0;
            for (; t + AT_ONCE <= taps; t += AT_ONCE)
              products<T, AT_ONCE>(above, &terms.maps[t], &sums[t * step], step, first, own, s.half());
            for (; t < taps; ++t) products<T, 1>(above, &terms.maps[t], &sums[t * step], step, first, own, s.half());
          }
          T* to = of_weights + (here * s.halves + h) * own * taps;
          for (Int g = 0; g < own; ++g)
            for (Int t = 0; t < taps; ++t) to[g * taps + t] = sums[t * step + g];
        }
    }
  });
}

Shape shape_of(const Int* z) { return {z[0], z[1], z[2], z[3], z[4], z[5], z[6]}; }

}  // namespace

#define ENTRY(NAME, T)                                                                                                \
  extern "C" void interleaved_sums_##NAME(const T* value, const T* weights, T* out, const Int* z, int threads) {      \
    interleaved(value, weights, out, shape_of(z), threads);                                                           \
  }                                                                                                                   \
  extern "C" void interleaved_sums_backward_##NAME(const T* value, const T* weights, const T* gradient, T* of_value,  \
                                                   T* of_weights, const Int* z, int threads) {                        \
    interleaved_backward(value, weights, gradient, of_value, of_weights, shape_of(z), threads);                       \
  }

ENTRY(float32, float)
ENTRY(float64, double)
