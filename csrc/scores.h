// Scores as comparable keys: float and double compare as they are, 16-bit floats through integers.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "simd.h"
#include "stable.h"

namespace fastmetrics {

// Score<T>::Key orders like T, with -0 equal to +0; `nan` works on a key or on a vector of keys.
template <class T>
struct Score;

template <class T>
struct NativeScore {
  using Key = T;
  FM_INLINE static Key key(T value) { return value; }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return key != key;
  }
  static double value(T score) { return score; }
};
template <>
struct Score<float> : NativeScore<float> {};
template <>
struct Score<double> : NativeScore<double> {};

// Sign and magnitude become a two's complement integer; what lies beyond +-infinity is NaN.
template <class T, int32_t kInfinity>
struct SmallScore {
  using Key = int32_t;
  template <class K>
  FM_INLINE static K from_bits(K bits) {  // sign-extended 16-bit patterns
    const K magnitude = bits & 0x7fff;
    return bits < 0 ? -magnitude : magnitude;
  }
  FM_INLINE static Key key(T value) { return from_bits<Key>(static_cast<int16_t>(value.bits)); }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return (key > kInfinity) | (key < -kInfinity);
  }
};
template <>
struct Score<Half> : SmallScore<Half, 0x7c00> {
  static double value(Half score) {
    const int exponent = (score.bits >> 10) & 0x1f;
    const double fraction = score.bits & 0x3ff;
    double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                       : exponent == 31 ? (fraction == 0 ? std::numeric_limits<double>::infinity()
                                                         : std::numeric_limits<double>::quiet_NaN())
                                        : std::ldexp(fraction + 1024.0, exponent - 25);
    return score.bits & 0x8000 ? -magnitude : magnitude;
  }
};
template <>
struct Score<BFloat16> : SmallScore<BFloat16, 0x7f80> {
  static double value(BFloat16 score) {
    return std::bit_cast<float>(static_cast<uint32_t>(score.bits) << 16);
  }
};

// Labels 0 and 1 thresholded like scores: positive above 0, never NaN.
template <>
struct Score<int32_t> {
  using Key = int32_t;
  FM_INLINE static Key key(int32_t value) { return value; }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return key < key;
  }
};

// The largest T not above `bound`, so that `score > bound` is decided in T's own precision.
template <class T>
T round_down(double bound);
template <>
inline double round_down<double>(double bound) {
  return bound;
}
template <>
inline float round_down<float>(double bound) {
  const float nearest = static_cast<float>(bound);
  return static_cast<double>(nearest) > bound
             ? std::nextafter(nearest, -std::numeric_limits<float>::infinity())
             : nearest;
}

// `value` rounded to the nearest T, as torch converts a Python number before comparing.
template <class T>
T round_nearest(double value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    // The neighbours in the order of keys: halve the interval of bit patterns of [0, 2).
    uint16_t below = 0;
    uint16_t above = 0x4000;  // 2.0 in both 16-bit formats
    while (above - below > 1) {
      const uint16_t middle = static_cast<uint16_t>((below + above) / 2);
      (Score<T>::value(T{middle}) <= value ? below : above) = middle;
    }
    const double low = Score<T>::value(T{below});
    const double high = Score<T>::value(T{above});
    const bool tie_to_even = value - low == high - value && (above & 1) == 0;
    return value - low > high - value || tie_to_even ? T{above} : T{below};
  }
}

// Thresholds as keys: probabilities are positive above `prob`, logits above `logit`.
template <class T>
struct Cuts {
  typename Score<T>::Key prob;
  typename Score<T>::Key logit;
  typename Score<T>::Key one;

  explicit Cuts(double threshold) {
    using S = Score<T>;
    if constexpr (std::is_same_v<T, int32_t>) {
      prob = logit = 0;
      one = std::numeric_limits<int32_t>::max();
    } else {
      const double cut = threshold <= 0.0   ? -std::numeric_limits<double>::infinity()
                         : threshold >= 1.0 ? std::numeric_limits<double>::infinity()
                                            : std::log(threshold) - std::log1p(-threshold);
      prob = S::key(round_nearest<T>(threshold));
      logit = key_below(cut);
      one = S::key(round_nearest<T>(1.0));
    }
  }

 private:
  static typename Score<T>::Key key_below(double bound) {
    if constexpr (std::is_floating_point_v<T>) {
      return round_down<T>(bound);
    } else {
      // Keys are consecutive integers: search the largest whose value is not above the bound.
      int32_t below = -Score<T>::key(infinity());
      int32_t above = Score<T>::key(infinity());
      if (bound >= Score<T>::value(infinity())) {
        return above;
      }
      while (above - below > 1) {
        const int32_t middle = below + (above - below) / 2;
        const uint16_t magnitude = static_cast<uint16_t>(middle < 0 ? -middle : middle);
        const T score{static_cast<uint16_t>(middle < 0 ? magnitude | 0x8000 : magnitude)};
        (Score<T>::value(score) <= bound ? below : above) = middle;
      }
      return below;
    }
  }
  static T infinity() {
    return T{static_cast<uint16_t>(std::is_same_v<T, Half> ? 0x7c00 : 0x7f80)};
  }
};

// 64-byte vectors of keys; the compiler lowers them to what the instruction set has.
template <class T>
struct Lanes {
  using Key = typename Score<T>::Key;
  static constexpr int kCount = 64 / sizeof(Key);
  typedef Key Vector __attribute__((vector_size(64)));
  using Index = std::conditional_t<sizeof(Key) == 8, int64_t, int32_t>;
  typedef Index Indices __attribute__((vector_size(64)));

  FM_INLINE static Vector load(const T* data) {
    if constexpr (std::is_same_v<T, Key>) {
      Vector v;
      std::memcpy(&v, data, sizeof(v));
      return v;
    } else {
      typedef int16_t Bits __attribute__((vector_size(2 * kCount)));
      Bits bits;
      std::memcpy(&bits, data, sizeof(bits));
      return Score<T>::from_bits(__builtin_convertvector(bits, Vector));
    }
  }
};

}  // namespace fastmetrics
