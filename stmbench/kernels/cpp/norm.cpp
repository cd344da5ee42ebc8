// The Euclidean norm of the numbers of many arrays together.
#include "entry.h"

namespace {

constexpr Int PIECE = 4096;  // numbers that are added in T; pieces are added in double

template <typename T>
void norm(const T* const* arrays, T* found, const Int* lengths, Int count, int threads) {
  double total = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(+ : total)
  for (Int i = 0; i < count; ++i)
    for (Int start = 0; start < lengths[i]; start += PIECE) {
      const T* x = arrays[i] + start;
      const Int length = std::min(PIECE, lengths[i] - start);
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Int j = 0; j < length; ++j) sum += x[j] * x[j];
      total += sum;
    }
  *found = std::sqrt(total);
}

}  // namespace

#define ENTRY(NAME, TYPE)                                                                           \
  extern "C" void norm_##NAME(const TYPE* const* arrays, TYPE* found, const Int* z, int threads) { \
    norm<TYPE>(arrays, found, z + 1, z[0], threads);                                                \
  }

ENTRY(float32, float)
ENTRY(float64, double)
