// What a linear layer does besides its matrix product, in single precision.
#include "columns.h"

// y += bias, of every row
extern "C" void add_bias_float32(const float* bias, float* y, const Int* z, int threads) {
  const Int rows = z[0], width = z[1];
#pragma omp parallel for num_threads(threads) schedule(static)
  for (Int row = 0; row < rows; ++row) {
    float* to = y + row * width;
    along<float>(width, [=](auto kind, Int c) { put(to + c, get(kind, to + c) + get(kind, bias + c)); });
  }
}
