// What an MLP does besides its matrix products: the LayerNorm before it, GELU, and the residual after it with a share of its
// branch for each image, and their backward passes. Tokens are rows of `width` channels.
//
// Gradients of what all tokens share are sums over the rows: each thread has its own, `sums` (threads, of what, width),
// which begin at zero.
#include "rows.h"

namespace {

// GELU's share and e^x for x <= 0, of vectors and numbers: as in rows.h and entry.h, or in double precision.
inline V share_of(V x) { return gelu_share(x); }
inline float share_of(float x) { return gelu_share(filled(x))[0]; }
inline double share_of(double x) { return std::erfc(x * -0.70710678118654752440) / 2; }

inline V power_of(V x) {
  float values[L];
  store(values, x);
#pragma omp simd
  for (Int i = 0; i < L; ++i) values[i] = exponential(values[i]);
  return load(values);
}
inline float power_of(float x) { return exponential(x); }
inline double power_of(double x) { return exponential(x); }

template <typename F>
Lanes<double> each_lane(Lanes<double> x, F f) {
  for (Int i = 0; i < LANES<double>; ++i) x[i] = f(x[i]);
  return x;
}
inline Lanes<double> share_of(Lanes<double> x) { return each_lane(x, [](double v) { return share_of(v); }); }
inline Lanes<double> power_of(Lanes<double> x) { return each_lane(x, [](double v) { return power_of(v); }); }

// y = GELU(x + bias), of which y may be x
template <typename T>
void gelu_of(const T* x, const T* bias, T* y, Int rows, Int width, int threads) {
  share_rows(rows, threads, [=](int, Int first, Int end) {
    for (Int row = first; row < end; ++row)
      along<T>(width, [=](auto kind, Int c) {
        const auto at = get(kind, x + row * width + c) + get(kind, bias + c);
        put(y + row * width + c, at * share_of(at));
      });
  });
}

// y = GELU(x + bias) once more, and `gradient` of y becomes that of x; its sums are the bias's.
template <typename T>
void gelu_backward(const T* x, const T* bias, T* y, T* gradient, T* sums, Int rows, Int width, int threads) {
  share_rows(rows, threads, [=](int thread, Int first, Int end) {
    Columns<T> of_bias(sums + thread * width, width);
    for (Int row = first; row < end; ++row, of_bias.end_row())
      along<T>(width, [&](auto kind, Int c) {
        const Int here = row * width + c;
        const auto at = get(kind, x + here) + get(kind, bias + c), share = share_of(at);
        put(y + here, at * share);
        // of x P(x) it is P(x) + x p(x), p the density of a normal variable
        const auto density = power_of(at * at * T(-0.5)) * T(0.39894228040143267794);
        const auto of_x = get(kind, gradient + here) * (share + at * density);
        put(gradient + here, of_x);
        of_bias.add(c, of_x);
      });
  });
}

// out = x + part scale (y + bias), with a part for each image of `count` tokens; `skipped` tokens come before the first.
template <typename T>
void residual(const T* x, const T* y, const T* bias, const T* scale, const T* part, T* out, Int rows, Int width, Int skipped,
              Int count, int threads) {
  share_rows(rows, threads, [=](int, Int first, Int end) {
    for (Int row = first; row < end; ++row) {
      const T share = part[(skipped + row) / count];
      along<T>(width, [=](auto kind, Int c) {
        const Int here = row * width + c;
        const auto branch = get(kind, scale + c) * (get(kind, y + here) + get(kind, bias + c));
        put(out + here, get(kind, x + here) + branch * share);
      });
    }
  });
}

// From the gradient of `out` there, those of y and, as sums, of scale and bias.
template <typename T>
void residual_backward(const T* gradient, const T* y, const T* bias, const T* scale, const T* part, T* of_y, T* sums,
                       Int rows, Int width, Int skipped, Int count, int threads) {
  share_rows(rows, threads, [=](int thread, Int first, Int end) {
    Columns<T> of_scale(sums + thread * 2 * width, width), of_bias(sums + (thread * 2 + 1) * width, width);
    for (Int row = first; row < end; ++row, of_scale.end_row(), of_bias.end_row()) {
      const T share = part[(skipped + row) / count];
      along<T>(width, [&](auto kind, Int c) {
        const Int here = row * width + c;
        const auto taken = get(kind, gradient + here) * share, here_of_y = taken * get(kind, scale + c);
        put(of_y + here, here_of_y);
        of_scale.add(c, taken * (get(kind, y + here) + get(kind, bias + c)));
        of_bias.add(c, here_of_y);
      });
    }
  });
}

// From the gradient of LayerNorm(x), that of x, with `more` added, if any, and as sums those of its weight and bias.
template <typename T>
void norm_backward(const T* gradient, const T* x, const T* weight, const T* more, T* of_x, T* sums, T eps, Int rows,
                   Int width, int threads) {
  share_rows(rows, threads, [=](int thread, Int first, Int end) {
    Columns<T> of_weight(sums + thread * 2 * width, width), of_bias(sums + (thread * 2 + 1) * width, width);
    Buffer<T> normed(width), scaled(width);
    for (Int row = first; row < end; ++row, of_weight.end_row(), of_bias.end_row()) {
      const T *from = x + row * width, *given = gradient + row * width;
      Sum<T> sum, squares, product, along_normed;
      along<T>(width, [&](auto kind, Int c) { sum.add(get(kind, from + c)); });
      const T mean = sum.total() / T(width);
      along<T>(width, [&](auto kind, Int c) {
        const auto from_mean = get(kind, from + c) - mean;
        put(&normed[c], from_mean);
        squares.add(from_mean * from_mean);
      });
      const T scale = 1 / std::sqrt(squares.total() / T(width) + eps);
      along<T>(width, [&](auto kind, Int c) {
        const auto at = get(kind, &normed[c]) * scale, here = get(kind, given + c), by = here * get(kind, weight + c);
        put(&normed[c], at);
        put(&scaled[c], by);
        product.add(by);
        along_normed.add(by * at);
        of_weight.add(c, here * at);
        of_bias.add(c, here);
      });
      const T even = product.total() / T(width), tilt = along_normed.total() / T(width);
      along<T>(width, [&](auto kind, Int c) {
        auto found = (get(kind, &scaled[c]) - even - get(kind, &normed[c]) * tilt) * scale;
        if (more) found += get(kind, more + row * width + c);
        put(of_x + row * width + c, found);
      });
    }
  });
}

template <typename T>
void norm_forward(const T* x, const T* weight, const T* bias, T* y, T eps, Int rows, Int width, int threads) {
  share_rows(rows, threads, [=](int, Int first, Int end) {
    layer_norms(x + first * width, weight, bias, y + first * width, eps, end - first, width);
  });
}

}  // namespace

#define ENTRY(NAME, T)                                                                                              \
  extern "C" void gelu_of_##NAME(const T* x, const T* bias, T* y, const Int* z, int threads) {                      \
    gelu_of(x, bias, y, z[0], z[1], threads);                                                                       \
  }                                                                                                                 \
  extern "C" void gelu_backward_##NAME(const T* x, const T* bias, T* y, T* gradient, T* sums, const Int* z,         \
                                       int threads) {                                                               \
    gelu_backward(x, bias, y, gradient, sums, z[0], z[1], threads);                                                 \
  }                                                                                                                 \
  extern "C" void residual_##NAME(const T* x, const T* y, const T* bias, const T* scale, const T* part, T* out,     \
                                  const Int* z, int threads) {                                                      \
    residual(x, y, bias, scale, part, out, z[0], z[1], z[2], z[3], threads);                                        \
  }                                                                                                                 \
  extern "C" void residual_backward_##NAME(const T* gradient, const T* y, const T* bias, const T* scale,            \
                                           const T* part, T* of_y, T* sums, const Int* z, int threads) {            \
    residual_backward(gradient, y, bias, scale, part, of_y, sums, z[0], z[1], z[2], z[3], threads);                 \
  }                                                                                                                 \
  extern "C" void norm_forward_##NAME(const T* x, const T* weight, const T* bias, T* y, double eps, const Int* z,   \
                                      int threads) {                                                                \
    norm_forward(x, weight, bias, y, T(eps), z[0], z[1], threads);                                                  \
  }                                                                                                                 \
  extern "C" void norm_backward_##NAME(const T* gradient, const T* x, const T* weight, const T* more, T* of_x,      \
                                       T* sums, double eps, const Int* z, int threads) {                            \
    norm_backward(gradient, x, weight, z[2] ? more : nullptr, of_x, sums, T(eps), z[0], z[1], threads);             \
  }

ENTRY(float32, float)
ENTRY(float64, double)
