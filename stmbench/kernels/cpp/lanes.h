// Vectors of channels: how kernels on maps with channels last work on two vectors of them at a time.
#pragma once

#include <new>
#include <type_traits>

#include "entry.h"

#if defined(__AVX512F__)
constexpr Int BYTES = 64;
#elif defined(__AVX__)
constexpr Int BYTES = 32;
#else
constexpr Int BYTES = 16;
#endif

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(BYTES), aligned(sizeof(T))));
};
template <typename T>
using Lanes = typename Vector<T>::type;

template <typename T>
constexpr Int LANES = BYTES / Int(sizeof(T));
template <typename T>
constexpr Int CHANNELS = 2 * LANES<T>;
template <typename T>
Lanes<T> load(const T* x) {
  return *reinterpret_cast<const Lanes<T>*>(x);
}
template <typename T>
void store(T* y, const Lanes<T>& v) {
  *reinterpret_cast<Lanes<T>*>(y) = v;
}

constexpr Int MOST = 6;                // columns, or taps, that are summed at once: twelve registers
constexpr Int CACHED = 256 * 1024;     // bytes that a job works on

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

// memory that begins with a line of the cache: no vector of it lies in two lines
template <typename T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t LINE{64};
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), LINE)); }
  void deallocate(T* at, std::size_t) { ::operator delete(at, LINE); }
  friend bool operator==(const Aligned&, const Aligned&) { return true; }
  friend bool operator!=(const Aligned&, const Aligned&) { return false; }
};
template <typename T>
using Buffer = std::vector<T, Aligned<T>>;

// D sums side by side, in registers: whole vectors where D has them. An array of numbers the compiler would keep in memory
// from two vectors on, and wait for it at every step.
template <typename T, int D>
struct Sums {
  static constexpr bool WHOLE = D >= LANES<T> && D % LANES<T> == 0;
  using Part = std::conditional_t<WHOLE, Lanes<T>, T>;
  static constexpr int COUNT = WHOLE ? D / int(LANES<T>) : D;
  Part parts[COUNT] = {};

  // through Lanes itself: as an argument of a template it loses that it may lie anywhere
  static Part part(const T* x, int i) {
    if constexpr (WHOLE)
      return *reinterpret_cast<const Lanes<T>*>(x + i * LANES<T>);
    else
      return x[i];
  }

  void add(T weight, const T* x) {
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; ++i) parts[i] += weight * part(x, i);
  }
  void add(const T* weights, const T* x) {
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; ++i) parts[i] += part(weights, i) * part(x, i);
  }
  void add(const Sums& other) {
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; ++i) parts[i] += other.parts[i];
  }
  void put(T* y) const {
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; ++i) {
      if constexpr (WHOLE)
        *reinterpret_cast<Lanes<T>*>(y + i * LANES<T>) = parts[i];
      else
        y[i] = parts[i];
    }
  }
};

#define BY_COUNT(COUNT, FUNCTION, ...)           \
  switch (COUNT) {                               \
    case 1: FUNCTION<T, 1>(__VA_ARGS__); break;  \
    case 2: FUNCTION<T, 2>(__VA_ARGS__); break;  \
    case 3: FUNCTION<T, 3>(__VA_ARGS__); break;  \
    case 4: FUNCTION<T, 4>(__VA_ARGS__); break;  \
    case 5: FUNCTION<T, 5>(__VA_ARGS__); break;  \
    default: FUNCTION<T, 6>(__VA_ARGS__);        \
  }

// `rows` rows of `width` pixels, `step` values apart, with `count` channels, as (rows, side + width + side, CHANNELS), zero elsewhere
template <typename T>
void copy_rows(const T* x, T* to, Int rows, Int width, Int step, Int count, Int side) {
  for (Int y = 0; y < rows; ++y) {
    std::fill(to, to + side * CHANNELS<T>, T(0));
    to += side * CHANNELS<T>;
    for (Int i = 0; i < width; ++i, x += step, to += CHANNELS<T>) {
      if (count == CHANNELS<T>) {
        std::copy(x, x + CHANNELS<T>, to);
      } else {
        std::copy(x, x + count, to);
        std::fill(to + count, to + CHANNELS<T>, T(0));
      }
    }
    std::fill(to, to + side * CHANNELS<T>, T(0));
    to += side * CHANNELS<T>;
  }
}

// two vectors into `count` channels
template <typename T>
void put(const Lanes<T>& low, const Lanes<T>& high, T* out, Int count) {
  if (count == CHANNELS<T>) {
    *reinterpret_cast<Lanes<T>*>(out) = low;
    *reinterpret_cast<Lanes<T>*>(out + LANES<T>) = high;
  } else {
    T both[CHANNELS<T>];
    *reinterpret_cast<Lanes<T>*>(both) = low;
    *reinterpret_cast<Lanes<T>*>(both + LANES<T>) = high;
    std::copy(both, both + count, out);
  }
}

// To `sums` of N taps, those over one row of `gradient` times what the tap finds, at(n) values from x
template <typename T, int N, typename At>
void sum_columns(const T* x, const T* gradient, const At& at, T* sums, Int width) {
  Lanes<T> low[N], high[N];
  for (int n = 0; n < N; ++n) {
    low[n] = *reinterpret_cast<const Lanes<T>*>(sums + n * CHANNELS<T>);
    high[n] = *reinterpret_cast<const Lanes<T>*>(sums + n * CHANNELS<T> + LANES<T>);
  }
  for (Int i = 0; i < width; ++i, x += CHANNELS<T>, gradient += CHANNELS<T>) {
    const Lanes<T> a = *reinterpret_cast<const Lanes<T>*>(gradient);
    const Lanes<T> b = *reinterpret_cast<const Lanes<T>*>(gradient + LANES<T>);
    for (int n = 0; n < N; ++n) {
      low[n] += a * *reinterpret_cast<const Lanes<T>*>(x + at(n));
      high[n] += b * *reinterpret_cast<const Lanes<T>*>(x + at(n) + LANES<T>);
    }
  }
  for (int n = 0; n < N; ++n) {
    *reinterpret_cast<Lanes<T>*>(sums + n * CHANNELS<T>) = low[n];
    *reinterpret_cast<Lanes<T>*>(sums + n * CHANNELS<T> + LANES<T>) = high[n];
  }
}
