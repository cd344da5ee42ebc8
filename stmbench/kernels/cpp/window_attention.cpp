// Attention within the windows of a map that was moved cyclically up and left by `shift`, in inference: softmax(q k^T d^-1/2 +
// bias) v in one pass, from a map to a map; nothing is moved, split or merged for it. qkv (B, H, W, 3, heads, d), to which
// qkv_bias is added; y (B, H, W, heads, d); bias (heads, M^2, keys), -infinity after the last of the M^2 keys of a query.
// Tokens that the move brought together across the map's edges are kept apart by -100, as in the authors' code.
//
// A job is a head of a window. Its keys are copied, transposed and scaled, and so are its values; logits and shares are then
// those of a few queries, which stay in the first cache.
#include "products.h"
#include "shares.h"

namespace {

struct Shape {
  Int batch, height, width, heads, depth, window, shift;

  Int down() const { return height / window; }
  Int across() const { return width / window; }
  Int tokens() const { return window * window; }
  Int keys() const { return whole_blocks(tokens()); }
  Int channels() const { return heads * depth; }
};

constexpr int KINDS = 4;  // of windows: with the seam of rows in them (1), of columns (2), of both, or of none

// For each kind and query, what is added for each key: (KINDS, M^2, keys)
template <typename T>
Buffer<T> separations(const Shape& s) {
  constexpr T APART = -100;
  const Int before = s.window - s.shift;  // the seam
  Buffer<T> found(KINDS * s.tokens() * s.keys(), T(0));
  T* to = found.data();
  for (int kind = 0; kind < KINDS; ++kind)
    for (Int n = 0; n < s.tokens(); ++n, to += s.keys())
      for (Int m = 0; m < s.tokens(); ++m) {
        const bool rows = (n / s.window < before) != (m / s.window < before);
        const bool columns = (n % s.window < before) != (m % s.window < before);
        if ((kind & 1 && rows) || (kind & 2 && columns)) to[m] = APART;
      }
  return found;
}

// What a thread works in
template <typename T>
struct Room {
  const Shape s;
  const Int deep = whole_vectors<T>(s.depth);
  std::vector<Int> places;  // of a window's tokens on the map
  Buffer<T> q, tile, k, v, logits, mixed;

  explicit Room(const Shape& shape)
      : s(shape), places(s.tokens()), q(s.tokens() * s.depth), tile(LANES<T> * deep), k(s.keys() * deep), v(k),
        logits(MOST * s.keys()), mixed(MOST * deep) {}

  void find_places(Int top, Int left) {
    for (Int r = 0; r < s.window; ++r)
      for (Int c = 0; c < s.window; ++c)
        places[r * s.window + c] = (top + r + s.shift) % s.height * s.width + (left + c + s.shift) % s.width;
  }
};

// Queries as (M^2, d), keys times `scale` as (vectors of keys, whole vectors of d, lanes), values as (M^2, whole vectors of
// d): of a head, at its first channel of the map's first token, as `bias` is
template <typename T, int D>
void gather(Room<T>& room, const T* qkv, const T* bias, T scale) {
  const Shape& s = room.s;
  const Int d = D ? D : s.depth, deep = room.deep, step = s.channels();
  T *q = room.q.data(), *tile = room.tile.data(), *v = room.v.data();
  for (Int n = 0; n < s.tokens(); ++n, q += d, v += deep) {
    const T* from = qkv + room.places[n] * 3 * step;
    const Int lane = n % LANES<T>;
    T* k = tile + lane * deep;
#pragma omp simd
    for (Int e = 0; e < d; ++e) {
      q[e] = from[e] + bias[e];
      k[e] = from[step + e] + bias[step + e];
      v[e] = from[2 * step + e] + bias[2 * step + e];
    }
    if (lane < LANES<T> - 1 && n < s.tokens() - 1) continue;
    std::fill(tile + (lane + 1) * deep, tile + LANES<T> * deep, T(0));
    T* to = room.k.data() + (n - lane) * deep;
    for (Int e = 0; e < deep; e += LANES<T>) transpose(tile + e, deep, to + e * LANES<T>, scale);
  }
}

template <typename T>
void attend(const T* qkv, const T* qkv_bias, const T* bias, T* y, const Shape& s, int threads) {
  const Int windows = s.down() * s.across(), size = s.height * s.width, tokens = s.tokens(), line = s.keys();
  const Int parts = (tokens + MOST - 1) / MOST, channels = s.channels();
  const T scale = 1 / std::sqrt(T(s.depth));
  const Buffer<T> apart = separations<T>(s);
#pragma omp parallel num_threads(threads)
  {
    Room<T> room(s);
    const Int d = s.depth, deep = room.deep;
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < s.batch * windows * s.heads; ++job) {
      const Int w = job / s.heads % windows, head = job % s.heads, first_token = job / s.heads / windows * size;
      const Int down = w / s.across(), across = w % s.across();
      const int kind = s.shift ? (down == s.down() - 1) + 2 * (across == s.across() - 1) : 0;
      room.find_places(down * s.window, across * s.window);
      BY_LENGTH(d, gather, room, qkv + first_token * 3 * channels + head * d, qkv_bias + head * d, scale)
      for (Int part = 0; part < parts; ++part) {
        const Int first = part * tokens / parts, count = (part + 1) * tokens / parts - first;
        T *x = room.logits.data(), largest[MOST], sums[MOST];
        const T *start = bias + (head * tokens + first) * line, *mask = &apart[(kind * tokens + first) * line];
#pragma omp simd
        for (Int i = 0; i < count * line; ++i) x[i] = start[i] + mask[i];
        BY_COUNT(count, add, room.q.data() + first * d, d, room.k.data(), LANES<T>, LANES<T> * deep, d, x, line,
                 (tokens + LANES<T> - 1) / LANES<T>)
        for (Int n = 0; n < count; ++n) {
          const T most = largest_of(x + n * line, tokens);
          largest[n] = most == -std::numeric_limits<T>::infinity() ? T(0) : most;  // a query without a key
        }
        for (Int n = 0; n < count; ++n) sums[n] = exponentials(x + n * line, x + n * line, tokens, largest[n]);
        std::fill(room.mixed.begin(), room.mixed.end(), T(0));
        BY_COUNT(count, add, x, line, room.v.data(), deep, LANES<T>, tokens, room.mixed.data(), deep, deep / LANES<T>)
        for (Int n = 0; n < count; ++n) {
          const T *mixed = &room.mixed[n * deep], share = sums[n] == 0 ? T(0) : 1 / sums[n];
          T* to = y + (first_token + room.places[first + n]) * channels + head * d;
#pragma omp simd
          for (Int e = 0; e < d; ++e) to[e] = share * mixed[e];
        }
      }
    }
  }
}

}  // namespace

extern "C" void window_attention_float32(const float* qkv, const float* qkv_bias, const float* bias, float* y, const Int* z,
                                         int threads) {
  attend(qkv, qkv_bias, bias, y, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6]}, threads);
}
