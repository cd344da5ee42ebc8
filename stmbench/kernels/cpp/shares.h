// Softmax of one row of logits.
#pragma once

#include <limits>

#include "entry.h"

// of all entries of a block; `combine` takes two
template <Int LENGTH = BLOCK, typename T, typename F>
T reduced(T* block, F combine) {
  if constexpr (LENGTH == 1) {
    return block[0];
  } else {
    T half[LENGTH / 2];
    for (Int j = 0; j < LENGTH / 2; ++j) half[j] = combine(block[j], block[j + LENGTH / 2]);
    return reduced<LENGTH / 2>(half, combine);
  }
}

// The largest of a row of logits. Here and below there is room for whole blocks, and what is too much is -infinity.
template <typename T>
T largest_of(const T* x, Int keys) {
  const auto larger = [](T one, T other) { return other > one ? other : one; };
  T most[BLOCK];
  for (Int j = 0; j < BLOCK; ++j) most[j] = x[j];
  for (Int i = BLOCK; i < keys; i += BLOCK)
#pragma omp simd
    for (Int j = 0; j < BLOCK; ++j) most[j] = larger(most[j], x[i + j]);
  return reduced(most, larger);
}

// e^(x - largest) into p, which may be x, and their sum
template <typename T>
T exponentials(const T* x, T* p, Int keys, T largest) {
  T sums[BLOCK] = {};
  for (Int i = 0; i < keys; i += BLOCK)
#pragma omp simd
    for (Int j = 0; j < BLOCK; ++j) {
      p[i + j] = exponential(x[i + j] - largest);
      sums[j] += p[i + j];
    }
  return reduced(sums, [](T one, T other) { return one + other; });
}

// Softmax of the logits in x, into p. Shares that are too small for a normal number are 0: sums of products with numbers
// below that take a CPU several times as long.
template <typename T>
void normalise(const T* x, T* p, Int keys) {
  const T sum = exponentials(x, p, keys, largest_of(x, keys)), share = 1 / sum;
  const T least = sum * std::numeric_limits<T>::min();
  for (Int i = 0; i < keys; i += BLOCK)
#pragma omp simd
    for (Int j = 0; j < BLOCK; ++j) p[i + j] = p[i + j] < least ? T(0) : p[i + j] * share;
}
