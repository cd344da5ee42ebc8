// Products of small matrices, whose second one has vectors as rows, and what brings matrices into that form.
#pragma once

#include <utility>

#include "lanes.h"

template <typename T>
constexpr Int whole_vectors(Int length) { return (length + LANES<T> - 1) / LANES<T> * LANES<T>; }

// To c (N, two vectors) the product of a (N, depth) and b (depth, two vectors): rows of a and c are `row` and `out`
// values apart, those of b `step`, and its second vector is `second` values from the first.
template <typename T, int N>
void add_two(const T* a, Int row, const T* b, Int step, Int second, Int depth, T* c, Int out) {
  Lanes<T> low[N], high[N];
  for (int n = 0; n < N; ++n) {
    low[n] = load(c + n * out);
    high[n] = load(c + n * out + LANES<T>);
  }
  for (Int e = 0; e < depth; ++e, b += step) {
    const Lanes<T> l = load(b), h = load(b + second);
    for (int n = 0; n < N; ++n) {
      low[n] += a[n * row + e] * l;
      high[n] += a[n * row + e] * h;
    }
  }
  for (int n = 0; n < N; ++n) {
    store(c + n * out, low[n]);
    store(c + n * out + LANES<T>, high[n]);
  }
}

// The same of one vector. Even and odd steps have sums of their own: a processor adds to several while it waits for one.
template <typename T, int N>
void add_one(const T* a, Int row, const T* b, Int step, Int depth, T* c, Int out) {
  Lanes<T> even[N], odd[N];
  for (int n = 0; n < N; ++n) {
    even[n] = load(c + n * out);
    odd[n] = Lanes<T>{};
  }
  Int e = 0;
  for (; e + 1 < depth; e += 2, b += 2 * step) {
    const Lanes<T> one = load(b), other = load(b + step);
    for (int n = 0; n < N; ++n) {
      even[n] += a[n * row + e] * one;
      odd[n] += a[n * row + e + 1] * other;
    }
  }
  if (e < depth)
    for (int n = 0; n < N; ++n) even[n] += a[n * row + e] * load(b);
  for (int n = 0; n < N; ++n) store(c + n * out, even[n] + odd[n]);
}

// The same of `vectors` vectors, each `second` values from the one before
template <typename T, int N>
void add(const T* a, Int row, const T* b, Int step, Int second, Int depth, T* c, Int out, Int vectors) {
  Int i = 0;
  for (; i + 1 < vectors; i += 2) add_two<T, N>(a, row, b + i * second, step, second, depth, c + i * LANES<T>, out);
  if (i < vectors) add_one<T, N>(a, row, b + i * second, step, depth, c + i * LANES<T>, out);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLED
#endif
#endif

// Values of two vectors in turn: those of their first halves, or of their last
template <typename T, Int FROM, Int... I>
Lanes<T> in_turn(const Lanes<T>& a, const Lanes<T>& b, std::integer_sequence<Int, I...>) {
#ifdef SHUFFLED
  return __builtin_shufflevector(a, b, (FROM + I / 2 + I % 2 * LANES<T>)...);
#else
  return Lanes<T>{(I % 2 ? b : a)[FROM + I / 2]...};
#endif
}

// A square with a vector's number of lanes each way, times `scale`. Each step turns every number's place, its row and lane
// in binary, by one digit: after as many steps as a row's number has digits, row and lane have changed places.
template <typename T>
void transpose(const T* from, Int row, T* to, T scale) {
  using All = std::make_integer_sequence<Int, LANES<T>>;
  constexpr Int HALF = LANES<T> / 2;
  Lanes<T> rows[LANES<T>], moved[LANES<T>];
  for (Int i = 0; i < LANES<T>; ++i) rows[i] = load(from + i * row);
  for (Int digits = LANES<T>; digits > 1; digits /= 2) {
    for (Int i = 0; i < HALF; ++i) {
      moved[2 * i] = in_turn<T, 0>(rows[i], rows[i + HALF], All());
      moved[2 * i + 1] = in_turn<T, HALF>(rows[i], rows[i + HALF], All());
    }
    for (Int i = 0; i < LANES<T>; ++i) rows[i] = moved[i];
  }
  for (Int i = 0; i < LANES<T>; ++i) store(to + i * LANES<T>, scale * rows[i]);
}
