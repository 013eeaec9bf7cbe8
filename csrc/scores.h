// Scores as comparable keys, and thresholds in terms of them.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "simd.h"
#include "stable.h"

namespace fastmetrics {

#include "scores.inl"

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

// Thresholds as keys of a score type: probabilities are positive above `prob`, logits above
// `logit`, and scores outside [0, one] cannot be probabilities. Every key is exact as a double.
struct Cuts {
  double prob;
  double logit;
  double one;
};

// The largest key whose score is not above `bound`.
template <class T>
typename Score<T>::Key key_below(double bound) {
  if constexpr (std::is_floating_point_v<T>) {
    return round_down<T>(bound);
  } else {
    // Keys are consecutive integers between the infinities.
    const int32_t infinity = Score<T>::kInfinity;
    const auto value = [](int32_t key) {
      const uint16_t magnitude = static_cast<uint16_t>(key < 0 ? -key : key);
      return Score<T>::value(T{static_cast<uint16_t>(key < 0 ? magnitude | 0x8000 : magnitude)});
    };
    if (bound >= value(infinity)) {
      return infinity;
    }
    int32_t below = -infinity;
    int32_t above = infinity;
    while (above - below > 1) {
      const int32_t middle = below + (above - below) / 2;
      (value(middle) <= bound ? below : above) = middle;
    }
    return below;
  }
}

template <class T>
Cuts cuts_at(double threshold) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double logit = threshold <= 0.0   ? -infinity
                       : threshold >= 1.0 ? infinity
                                          : std::log(threshold) - std::log1p(-threshold);
  return Cuts{static_cast<double>(Score<T>::key(round_nearest<T>(threshold))),
              static_cast<double>(key_below<T>(logit)),
              static_cast<double>(Score<T>::key(round_nearest<T>(1.0)))};
}

}  // namespace fastmetrics
