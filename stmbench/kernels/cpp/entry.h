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
// x = n ln 2 + r, and a polynomial of r. Added to 1.5 2^23, x / ln 2 is rounded to n, which its last bits hold, and 127 more
// make them the exponent of 2^n.
inline float exponential(float x) {
  const float shift = 12582912.0f + 127.0f, shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  std::uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits <<= 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : y * power;
}
