// Halo attention in inference: softmax(q k^T d^-1/2 + terms of the key's row and column) v in one pass, from maps to a
// map. q, y (B, H, W, heads, d); kv (B, H, W, heads, 2, d); both tables (2 reach - 1, d).
//
// A job is a head of a window. Of its keys those inside the map are copied, transposed and scaled, and so are their
// values; logits and shares are then those of a few queries, which stay in the first cache.
#include "products.h"
#include "shares.h"

namespace {

struct Shape {
  Int batch, height, width, heads, depth, window, before, reach;

  Int down() const { return height / window; }
  Int across() const { return width / window; }
  Int queries() const { return window * window; }
  Int offsets() const { return 2 * reach - 1; }
};

// Of one axis, the keys of a window that are inside the map: `count` of them from `first` on, after `skipped` outside
struct Span {
  Int first, count, skipped;

  Span(Int start, Int reach, Int size)
      : first(std::max<Int>(0, start)), count(std::min(size, start + reach) - first), skipped(first - start) {}
};

// What a thread works in
template <typename T>
struct Room {
  const Shape s;
  const Int keys = whole_blocks(s.reach * s.reach), deep = whole_vectors<T>(s.depth), side = whole_vectors<T>(s.reach);
  const Int line = keys + LANES<T>;  // of logits: sums of terms are written a vector at a time
  Buffer<T> q, tile, k, v, vertical, horizontal, logits, mixed;

  explicit Room(const Shape& shape)
      : s(shape), q(s.queries() * s.depth), tile(LANES<T> * deep), k(keys * deep), v(k), vertical(s.queries() * side),
        horizontal(vertical), logits(MOST * line), mixed(MOST * deep) {}

  // Of every query the products with the rows of a table, (d, `step` offsets), that its offsets to the keys of one axis
  // have, (queries, side). A line of queries has the same offsets; its queries are `next` apart, lines `apart`.
  void find_terms(const T* table, Int step, const Span& keys, Int next, Int apart, T* terms) {
    std::fill(terms, terms + s.queries() * side, T(0));
    const Int parts = (s.window + MOST - 1) / MOST, vectors = (keys.count + LANES<T> - 1) / LANES<T>;
    for (Int i = 0; i < s.window; ++i)
      for (Int part = 0; part < parts; ++part) {
        const Int first = part * s.window / parts, count = (part + 1) * s.window / parts - first;
        const Int query = i * apart + first * next;
        BY_COUNT(count, add, q.data() + query * s.depth, next * s.depth, table + s.reach - 1 - i + keys.skipped, step,
                 LANES<T>, s.depth, terms + query * side, next * side, vectors)
      }
  }

  // The terms of query `n` as the start of its logits; -infinity after the last key
  void place_terms(Int n, Int rows, Int columns, T* to) const {
    const T *down = vertical.data() + n * side, *across = horizontal.data() + n * side;
    for (Int j = (columns - 1) / LANES<T> * LANES<T>; j >= 0; j -= LANES<T>) {  // what is too much is overwritten later
      const Lanes<T> term = load(across + j);
      for (Int i = 0; i < rows; ++i) store(to + i * columns + j, down[i] + term);
    }
    std::fill(to + rows * columns, to + line, -std::numeric_limits<T>::infinity());
  }
};

// Queries as (queries, d), keys times `scale` as (vectors of keys, whole vectors of d, lanes), values as (keys, whole
// vectors of d): q at the window's first, kv at the map's
template <typename T, int D>
void gather(Room<T>& room, const T* q, const T* kv, const Span& rows, const Span& columns, T scale) {
  const Shape& s = room.s;
  const Int d = D ? D : s.depth, deep = room.deep, token = s.heads * d, keys = rows.count * columns.count;
  T *to = room.q.data(), *tile = room.tile.data(), *v = room.v.data();
  for (Int r = 0; r < s.window; ++r)
    for (Int c = 0; c < s.window; ++c, to += d) {
      const T* from = q + (r * s.width + c) * token;
      std::copy(from, from + d, to);
    }
  for (Int i = 0, key = 0; i < rows.count; ++i) {
    const T* from = kv + ((rows.first + i) * s.width + columns.first) * 2 * token;
    for (Int j = 0; j < columns.count; ++j, ++key, from += 2 * token, v += deep) {
      const Int lane = key % LANES<T>, first = key - lane;
      std::copy(from, from + d, tile + lane * deep);
      std::copy(from + d, from + 2 * d, v);
      if (lane < LANES<T> - 1 && key < keys - 1) continue;
      std::fill(tile + (lane + 1) * deep, tile + LANES<T> * deep, T(0));
      T* k = room.k.data() + first * deep;
      for (Int e = 0; e < deep; e += LANES<T>) transpose(tile + e, deep, k + e * LANES<T>, scale);
    }
  }
}

// (2 reach - 1, d) as (d, whole vectors), with as many zeros after the last
template <typename T>
Buffer<T> turned(const T* table, Int step, const Shape& s) {
  Buffer<T> to(s.depth * step + whole_vectors<T>(s.reach), T(0));
  for (Int i = 0; i < s.offsets(); ++i)
    for (Int e = 0; e < s.depth; ++e) to[e * step + i] = table[i * s.depth + e];
  return to;
}

template <typename T>
void attend(const T* q, const T* kv, const T* of_rows, const T* of_columns, T* y, const Shape& s, int threads) {
  const Int windows = s.down() * s.across(), token = s.heads * s.depth, step = whole_vectors<T>(s.offsets());
  const Int parts = (s.queries() + MOST - 1) / MOST;
  const T scale = 1 / std::sqrt(T(s.depth));
  const Buffer<T> down = turned(of_rows, step, s), across = turned(of_columns, step, s);
#pragma omp parallel num_threads(threads)
  {
    Room<T> room(s);
    const Int d = s.depth, deep = room.deep, line = room.line;
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < s.batch * windows * s.heads; ++job) {
      const Int w = job / s.heads, head = job % s.heads, image = w / windows * s.height * s.width;
      const Int top = w % windows / s.across() * s.window, left = w % s.across() * s.window;
      const Span rows(top - s.before, s.reach, s.height), columns(left - s.before, s.reach, s.width);
      const Int corner = (image + top * s.width + left) * token + head * d, keys = rows.count * columns.count;
      BY_LENGTH(d, gather, room, q + corner, kv + (image * token + head * d) * 2, rows, columns, scale)
      room.find_terms(down.data(), step, rows, 1, s.window, room.vertical.data());
      room.find_terms(across.data(), step, columns, s.window, 1, room.horizontal.data());
      for (Int part = 0; part < parts; ++part) {
        const Int first = part * s.queries() / parts, count = (part + 1) * s.queries() / parts - first;
        T *x = room.logits.data(), largest[MOST], sums[MOST];
        for (Int n = 0; n < count; ++n) room.place_terms(first + n, rows.count, columns.count, x + n * line);
        BY_COUNT(count, add, room.q.data() + first * d, d, room.k.data(), LANES<T>, LANES<T> * deep, d, x, line,
                 (keys + LANES<T> - 1) / LANES<T>)
        for (Int n = 0; n < count; ++n) largest[n] = largest_of(x + n * line, keys);
        for (Int n = 0; n < count; ++n) sums[n] = exponentials(x + n * line, x + n * line, keys, largest[n]);
        std::fill(room.mixed.begin(), room.mixed.end(), T(0));
        BY_COUNT(count, add, x, line, room.v.data(), deep, LANES<T>, keys, room.mixed.data(), deep, deep / LANES<T>)
        for (Int n = 0; n < count; ++n) {
          const Int query = first + n;
          const T *mixed = &room.mixed[n * deep], share = 1 / sums[n];
          T* to = y + corner + (query / s.window * s.width + query % s.window) * token;
#pragma omp simd
          for (Int e = 0; e < d; ++e) to[e] = share * mixed[e];
        }
      }
    }
  }
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                                             \
  extern "C" void halo_attention_##NAME(const TYPE* q, const TYPE* kv, const TYPE* height_rel, const TYPE* width_rel, \
                                        TYPE* y, const Int* z, int threads) {                                         \
    attend(q, kv, height_rel, width_rel, y, Shape{z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7]}, threads);          \
  }

ENTRY(float32, float)
ENTRY(float64, double)
