// How a kernel becomes functions of the library: one for float and one for double, each with its inner length fixed at
// compile time where it is a usual one, so that the inner loop becomes a few vector instructions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

using Int = std::int64_t;

#define BY_LENGTH(LENGTH, FUNCTION, ...)              \
  switch (LENGTH) {                                   \
    case 4: FUNCTION<T, 4>(__VA_ARGS__); break;       \
    case 8: FUNCTION<T, 8>(__VA_ARGS__); break;       \
    case 16: FUNCTION<T, 16>(__VA_ARGS__); break;     \
    case 32: FUNCTION<T, 32>(__VA_ARGS__); break;     \
    case 64: FUNCTION<T, 64>(__VA_ARGS__); break;     \
    default: FUNCTION<T, 0>(__VA_ARGS__);             \
  }

constexpr Int BLOCK = 16;  // as many floats as the longest vector has

constexpr Int whole_blocks(Int length) { return (length + BLOCK - 1) / BLOCK * BLOCK; }

inline double exponential(double x) { return std::exp(x); }

// e^x for x <= 0 to two units in the last place, in a form that becomes vector instructions; 0 below e^-87. Cephes' scheme:
// x = n ln 2 + r, and a polynomial of r.
inline float exponential(float x) {
  const float bounded = x < -87.0f ? -87.0f : x;
  const float n = std::floor(bounded * 1.44269504088896341f + 0.5f);
  const float r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : y * power;
}
