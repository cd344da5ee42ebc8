// Real Fourier transforms over maps with channels last, unitary: x (B, H, W, C), s (B, H, W / 2 + 1, C) complex.
//
// A job has a vector of channels of one image. Two rows are one row of complex numbers z = x_1 + i x_2, whose transform
// holds both: S_1(k) = (Z(k) + conj Z(-k)) / 2, S_2(k) = (Z(k) - conj Z(-k)) / 2i; then columns. Channels are never
// mixed: what is large, or no number, in one leaves the others as they are. The way back is the way there with real and
// imaginary parts exchanged. Rows and columns are transformed by Stockham's algorithm, each prime factor of their length
// in a step of its own (two twos in one).
#include "lanes.h"

namespace {

template <typename T>
struct Complex {
  Lanes<T> re, im;
};

// One step: n = radix * rest, and exp(-2 pi i p k / n) for p < rest, k < radix
template <typename T>
struct Step {
  Int radix, rest;
  std::vector<T> cosines, sines;  // [p * radix + k]
  std::vector<T> own_cosines, own_sines;  // exp(-2 pi i j / radix), [j]
};

template <typename T>
struct Plan {
  Int length;
  std::vector<Step<T>> steps;

  explicit Plan(Int length) : length(length) {
    for (Int n = length; n > 1;) {
      Int radix = n % 4 == 0 ? 4 : 2;
      while (n % radix) ++radix;
      Step<T> step{radix, n / radix, {}, {}, {}, {}};
      const double turn = 2 * 3.14159265358979323846 / double(n);
      for (Int p = 0; p < step.rest; ++p)
        for (Int k = 0; k < radix; ++k) {
          step.cosines.push_back(T(std::cos(turn * double(p * k % n))));
          step.sines.push_back(T(-std::sin(turn * double(p * k % n))));
        }
      for (Int j = 0; j < radix; ++j) {
        step.own_cosines.push_back(T(std::cos(turn * double(step.rest * j))));
        step.own_sines.push_back(T(-std::sin(turn * double(step.rest * j))));
      }
      n = step.rest;
      steps.push_back(step);
    }
  }
};

// b times exp(i angle) to its place
template <typename T>
void turned(const Complex<T>& b, T cosine, T sine, Complex<T>* to) {
  to->re = b.re * cosine - b.im * sine;
  to->im = b.re * sine + b.im * cosine;
}

// b_k = sum over j of a_j exp(-2 pi i j k / R), each b_k turned by its angle; R = 0: any odd radix
template <typename T, int R>
void butterflies(const Step<T>& step, const Complex<T>* x, Complex<T>* y, Int stride) {
  const Int radix = R ? R : step.radix, pairs = radix / 2;
  std::vector<Complex<T>, Aligned<Complex<T>>> many(R ? 0 : 2 * pairs);
  Complex<T> few[R ? R : 1];
  Complex<T> *sums = R ? few : many.data(), *differences = sums + pairs;
  for (Int p = 0; p < step.rest; ++p) {
    const T *cosines = step.cosines.data() + p * radix, *sines = step.sines.data() + p * radix;
    for (Int q = 0; q < stride; ++q) {
      const Complex<T>* a = x + q + stride * p;
      Complex<T>* b = y + q + stride * radix * p;
      const Int next = stride * step.rest;
      if (R == 2) {
        b[0].re = a[0].re + a[next].re, b[0].im = a[0].im + a[next].im;
        turned<T>({a[0].re - a[next].re, a[0].im - a[next].im}, cosines[1], sines[1], b + stride);
      } else if (R == 4) {
        const Complex<T> even{a[0].re + a[2 * next].re, a[0].im + a[2 * next].im};
        const Complex<T> odd{a[0].re - a[2 * next].re, a[0].im - a[2 * next].im};
        const Complex<T> sum{a[next].re + a[3 * next].re, a[next].im + a[3 * next].im};
        const Complex<T> difference{a[next].re - a[3 * next].re, a[next].im - a[3 * next].im};
        b[0].re = even.re + sum.re, b[0].im = even.im + sum.im;
        turned<T>({odd.re + difference.im, odd.im - difference.re}, cosines[1], sines[1], b + stride);
        turned<T>({even.re - sum.re, even.im - sum.im}, cosines[2], sines[2], b + 2 * stride);
        turned<T>({odd.re - difference.im, odd.im + difference.re}, cosines[3], sines[3], b + 3 * stride);
      } else {  // odd: a_j and a_(R - j) have the same cosine and opposite sines
        Complex<T> whole = a[0];
        for (Int j = 1; j <= pairs; ++j) {
          const Complex<T>&one = a[j * next], &other = a[(radix - j) * next];
          sums[j - 1] = {one.re + other.re, one.im + other.im};
          differences[j - 1] = {one.re - other.re, one.im - other.im};
          whole.re += sums[j - 1].re, whole.im += sums[j - 1].im;
        }
        b[0] = whole;
        for (Int k = 1; k <= pairs; ++k) {
          Complex<T> even = a[0], odd{Lanes<T>{}, Lanes<T>{}};
          for (Int j = 1; j <= pairs; ++j) {
            const Int at = j * k % radix;
            even.re += sums[j - 1].re * step.own_cosines[at], even.im += sums[j - 1].im * step.own_cosines[at];
            odd.re -= differences[j - 1].im * step.own_sines[at], odd.im += differences[j - 1].re * step.own_sines[at];
          }
          turned<T>({even.re + odd.re, even.im + odd.im}, cosines[k], sines[k], b + k * stride);
          turned<T>({even.re - odd.re, even.im - odd.im}, cosines[radix - k], sines[radix - k], b + (radix - k) * stride);
        }
      }
    }
  }
}

// In x, with y as a second place; returns where the result is
template <typename T>
Complex<T>* transform(const Plan<T>& plan, Complex<T>* x, Complex<T>* y) {
  Int stride = 1;
  for (const Step<T>& step : plan.steps) {
    switch (step.radix) {
      case 2: butterflies<T, 2>(step, x, y, stride); break;
      case 3: butterflies<T, 3>(step, x, y, stride); break;
      case 4: butterflies<T, 4>(step, x, y, stride); break;
      case 5: butterflies<T, 5>(step, x, y, stride); break;
      case 7: butterflies<T, 7>(step, x, y, stride); break;
      default: butterflies<T, 0>(step, x, y, stride);
    }
    stride *= step.radix;
    std::swap(x, y);
  }
  return x;
}

template <typename T>
using Numbers = std::vector<Complex<T>, Aligned<Complex<T>>>;

// The first `count` channels of a vector; zero for the others
template <typename T>
Lanes<T> take(const T* from, Int count) {
  if (count == LANES<T>) return *reinterpret_cast<const Lanes<T>*>(from);
  T all[LANES<T>] = {};
  std::copy(from, from + count, all);
  return *reinterpret_cast<const Lanes<T>*>(all);
}

template <typename T>
void give(const Lanes<T>& values, T* to, Int count) {
  if (count == LANES<T>)
    *reinterpret_cast<Lanes<T>*>(to) = values;
  else
    for (Int i = 0; i < count; ++i) to[i] = values[i];
}

// The same of complex numbers, real and imaginary parts side by side
template <typename T>
Complex<T> take_pairs(const T* from, Int count) {
  T pairs[2 * LANES<T>] = {};
  std::copy(from, from + (count == LANES<T> ? 2 * LANES<T> : 2 * count), pairs);
  Complex<T> z;
  for (Int i = 0; i < LANES<T>; ++i) z.re[i] = pairs[2 * i], z.im[i] = pairs[2 * i + 1];
  return z;
}

template <typename T>
void give_pairs(const Complex<T>& z, T* to, Int count) {
  T pairs[2 * LANES<T>];
  for (Int i = 0; i < LANES<T>; ++i) pairs[2 * i] = z.re[i], pairs[2 * i + 1] = z.im[i];
  std::copy(pairs, pairs + (count == LANES<T> ? 2 * LANES<T> : 2 * count), to);
}

struct Shape {
  Int batch, height, width, channels;
  Int half() const { return width / 2 + 1; }
  // columns that are their own conjugates: the others stand for two
  bool is_single(Int column) const { return column == 0 || 2 * column == width; }
};

// work(first row, first channel, channels, a map of numbers (H, half), two rows of them) of every job
template <typename T, typename Work>
void for_each_block(const Shape& z, int threads, const Work& work) {
  const Int blocks = (z.channels + LANES<T> - 1) / LANES<T>, longest = std::max(z.height, z.width);
#pragma omp parallel num_threads(threads)
  {
    Numbers<T> map(z.height * z.half()), one(longest), other(longest);
#pragma omp for schedule(dynamic)
    for (Int job = 0; job < z.batch * blocks; ++job) {
      const Int channel = job % blocks * LANES<T>;
      work(job / blocks * z.height, channel, std::min(LANES<T>, z.channels - channel), map, one, other);
    }
  }
}

// middle: what columns that stand for two are multiplied with
template <typename T>
void there(const T* x, T* s, T middle, const Shape& z, int threads) {
  const Plan<T> down(z.height), across(z.width);
  const Int half = z.half();
  const T scale = T(1 / std::sqrt(double(z.height * z.width)));
  for_each_block<T>(z, threads, [&](Int image, Int channel, Int count, Numbers<T>& map, Numbers<T>& one, Numbers<T>& other) {
    for (Int h = 0; h < z.height; h += 2) {
      const bool both = h + 1 < z.height;
      for (Int w = 0; w < z.width; ++w) {
        const T* at = x + ((image + h) * z.width + w) * z.channels + channel;
        one[w].re = take(at, count);
        one[w].im = both ? take(at + z.width * z.channels, count) : Lanes<T>{};
      }
      const Complex<T>* found = transform(across, one.data(), other.data());
      for (Int w = 0; w < half; ++w) {
        const Complex<T>&a = found[w], &b = found[(z.width - w) % z.width];
        map[h * half + w] = {(a.re + b.re) * T(0.5), (a.im - b.im) * T(0.5)};
        if (both) map[(h + 1) * half + w] = {(a.im + b.im) * T(0.5), (b.re - a.re) * T(0.5)};
      }
    }
    for (Int w = 0; w < half; ++w) {
      const T times = z.is_single(w) ? scale : scale * middle;
      for (Int h = 0; h < z.height; ++h) one[h] = map[h * half + w];
      const Complex<T>* found = transform(down, one.data(), other.data());
      T* to = s + 2 * ((image * half + w) * z.channels + channel);
      for (Int h = 0; h < z.height; ++h, to += 2 * half * z.channels)
        give_pairs<T>({found[h].re * times, found[h].im * times}, to, count);
    }
  });
}

template <typename T>
void back(const T* s, T* x, T middle, const Shape& z, int threads) {
  const Plan<T> down(z.height), across(z.width);
  const Int half = z.half();
  const T scale = T(1 / std::sqrt(double(z.height * z.width)));
  for_each_block<T>(z, threads, [&](Int image, Int channel, Int count, Numbers<T>& map, Numbers<T>& one, Numbers<T>& other) {
    for (Int w = 0; w < half; ++w) {
      const T times = z.is_single(w) ? scale : scale * middle;
      const T* from = s + 2 * ((image * half + w) * z.channels + channel);
      for (Int h = 0; h < z.height; ++h, from += 2 * half * z.channels) {
        const Complex<T> given = take_pairs(from, count);
        one[h] = {given.im, given.re};
      }
      const Complex<T>* found = transform(down, one.data(), other.data());
      for (Int h = 0; h < z.height; ++h) map[h * half + w] = {found[h].im * times, found[h].re * times};
    }
    for (Int h = 0; h < z.height; h += 2) {
      const bool both = h + 1 < z.height;
      for (Int w = 0; w < half; ++w) {  // of single columns the imaginary part is ignored
        Complex<T> a = map[h * half + w], b = both ? map[(h + 1) * half + w] : Complex<T>{Lanes<T>{}, Lanes<T>{}};
        if (z.is_single(w)) a.im = b.im = Lanes<T>{};
        one[w] = {a.im + b.re, a.re - b.im};
        if (!z.is_single(w)) one[z.width - w] = {b.re - a.im, a.re + b.im};
      }
      const Complex<T>* found = transform(across, one.data(), other.data());
      T* to = x + (image + h) * z.width * z.channels + channel;
      for (Int w = 0; w < z.width; ++w, to += z.channels) {
        give(found[w].im, to, count);
        if (both) give(found[w].re, to + z.width * z.channels, count);
      }
    }
  });
}

}  // namespace

// z: B, H, W, C, and whether columns that stand for two count twice (there), or half (back)
#define FUNCTIONS(T, NAME)                                                                    \
  extern "C" void spectrum_##NAME(const T* x, T* s, const Int* z, int threads) {              \
    there(x, s, T(z[4] ? 2 : 1), {z[0], z[1], z[2], z[3]}, threads);                          \
  }                                                                                           \
  extern "C" void from_spectrum_##NAME(const T* s, T* x, const Int* z, int threads) {         \
    back(s, x, T(z[4] ? 0.5 : 1), {z[0], z[1], z[2], z[3]}, threads);                         \
  }

FUNCTIONS(float, float32)
FUNCTIONS(double, float64)
