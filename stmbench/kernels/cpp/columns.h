// Passes over rows of `width` channels, by vectors and then numbers, and sums along rows and down columns.
#pragma once

#include "lanes.h"

template <typename T>
T sum_of(const Lanes<T>& v) {
  T values[LANES<T>];
  store(values, v);
  return total<T, LANES<T>>(values);
}

// A vector or a number, at an address
template <typename T>
Lanes<T> get(const Lanes<T>&, const T* x) {
  return load(x);
}
template <typename T>
T get(T, const T* x) {
  return *x;
}
template <typename T>
void put(T* y, const Lanes<T>& x) {
  store(y, x);
}
template <typename T>
void put(T* y, T x) {
  *y = x;
}

// f(kind, c) for a row's channels, whole vectors and then numbers; `kind` is zero, of the type that is worked with.
template <typename T, typename F>
void along(Int width, const F& f) {
  const Int whole = width / LANES<T> * LANES<T>;
  for (Int c = 0; c < whole; c += LANES<T>) f(Lanes<T>{}, c);
  for (Int c = whole; c < width; ++c) f(T(0), c);
}

// A sum of vectors and numbers.
template <typename T>
struct Sum {
  Lanes<T> vectors{};
  T numbers = 0;

  void add(const Lanes<T>& x) { vectors += x; }
  void add(T x) { numbers += x; }
  T total() const { return sum_of<T>(vectors) + numbers; }
};

// Sums over rows, channel by channel: of some rows at a time, so that long sums lose few digits.
template <typename T>
class Columns {
  static constexpr Int MOST = 64;
  T* totals;
  Buffer<T> recent;
  Int rows = 0;

 public:
  Columns(T* totals, Int width) : totals(totals), recent(width) {}
  ~Columns() { move(); }
  Columns(const Columns&) = delete;

  template <typename X>
  void add(Int c, const X& x) {
    put(&recent[c], get(x, &recent[c]) + x);
  }

  void end_row() {
    if (++rows == MOST) move();
  }

  void move() {
    for (std::size_t c = 0; c < recent.size(); ++c) {
      totals[c] += recent[c];
      recent[c] = 0;
    }
    rows = 0;
  }
};

// work(thread, first, end) for each thread's rows
template <typename F>
void share_rows(Int rows, int threads, const F& work) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; ++thread) work(thread, rows * thread / threads, rows * (thread + 1) / threads);
}
