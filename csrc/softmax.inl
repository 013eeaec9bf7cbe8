// Softmax of rows of scores, in double. Included by the kernels, after values.h.

#include "values.inl"

// Puts exp(number - top) in place of each number, and calls use(power, distance) for each register
// of them in order.
template <class F>
FM_INLINE void for_powers(double* numbers, int64_t count, const Doubles& top, F&& use) {
  constexpr int kAtOnce = 4;
  int64_t i = 0;
  const auto work = [&](auto registers) __attribute__((always_inline)) {
    constexpr int kCount = decltype(registers)::value;
    Doubles distance[kCount];
    Doubles power[kCount];
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) {
      distance[k] = power[k] = load_doubles(numbers + i + k * kDoubles) - top;
    }
    exp_below_one(power);
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) {
      std::memcpy(numbers + i + k * kDoubles, &power[k], sizeof(power[k]));
      use(power[k], distance[k]);
    }
    i += kCount * kDoubles;
  };
  while (i + kAtOnce * kDoubles <= count) {
    work(std::integral_constant<int, kAtOnce>{});
  }
  while (i < count) {
    work(std::integral_constant<int, 1>{});
  }
}

// Softmax of one row in double, rounded to V. `padded` has room for `count` numbers and a vector
// more. Equal infinities share the row, and NaN makes all of it NaN. The largest probability goes
// to `top_prob` too, if there is one.
template <class V>
FM_INLINE bool softmax_row(const V* row, int64_t count, double* padded, V* probs,
                           float* top_prob = nullptr) {
  const double infinity = std::numeric_limits<double>::infinity();
  const int64_t length = (count + kDoubles - 1) / kDoubles * kDoubles;
  for (int64_t c = 0; c < count; ++c) {
    padded[c] = row[c];
  }
  for (int64_t c = count; c < length; ++c) {
    padded[c] = -infinity;
  }
  Doubles largest = Doubles{} - infinity;
  Longs nan{};
  for (int64_t c = 0; c < length; c += kDoubles) {
    const Doubles v = load_doubles(padded + c);
    largest = v > largest ? v : largest;
    nan |= v != v;
  }
  double top = -infinity;
  int64_t any_nan = 0;
  for (int lane = 0; lane < kDoubles; ++lane) {
    top = largest[lane] > top ? largest[lane] : top;
    any_nan |= nan[lane];
  }
  if (any_nan != 0) {
    std::fill(probs, probs + count, std::numeric_limits<V>::quiet_NaN());
    if (top_prob != nullptr) {
      *top_prob = std::numeric_limits<float>::quiet_NaN();
    }
    return true;
  }
  if (std::abs(top) == infinity) {
    const double share = 1.0 / static_cast<double>(std::count(padded, padded + count, top));
    for (int64_t c = 0; c < count; ++c) {
      probs[c] = static_cast<V>(padded[c] == top ? share : 0.0);
    }
    if (top_prob != nullptr) {
      *top_prob = static_cast<float>(share);
    }
    return false;
  }
  // The ones of the largest scores come last: what is far below them must not vanish one by one.
  Doubles sums{};
  Longs ones{};
  const auto add = [&](const Doubles& e, const Doubles& distance) {
    sums += distance < 0 ? e : Doubles{};
    ones -= distance == 0;
  };
  for_powers(padded, length, Doubles{} + top, add);
  double sum = 0.0;
  int64_t tops = 0;
  for (int lane = 0; lane < kDoubles; ++lane) {
    sum += sums[lane];
    tops += ones[lane];
  }
  sum += static_cast<double>(tops);
  for (int64_t c = 0; c < count; ++c) {
    probs[c] = static_cast<V>(padded[c] / sum);
  }
  if (top_prob != nullptr) {
    *top_prob = static_cast<float>(1.0 / sum);
  }
  return false;
}

// Rows of up to this many scores are worked out side by side: alone they would leave most lanes of
// a register empty.
constexpr int64_t kNarrowRow = 64;

// The same for kDoubles adjacent rows, one in each lane, with the sums in the same order. Returns
// false, and writes nothing, if one of the rows has a NaN or an infinite maximum.
template <class V>
FM_INLINE bool softmax_lanes(const V* rows, int64_t count, V* probs, float* top_probs) {
  alignas(64) double scores[kNarrowRow * kDoubles];
  for (int64_t row = 0; row < kDoubles; ++row) {
    for (int64_t c = 0; c < count; ++c) {
      scores[c * kDoubles + row] = rows[row * count + c];
    }
  }
  const double infinity = std::numeric_limits<double>::infinity();
  Doubles top = Doubles{} - infinity;
  Longs special{};
  for (int64_t c = 0; c < count; ++c) {
    const Doubles v = load_doubles(scores + c * kDoubles);
    top = v > top ? v : top;
    special |= v != v;
  }
  special |= (top == infinity) | (top == -infinity);
  int64_t any = 0;
  for (int lane = 0; lane < kDoubles; ++lane) {
    any |= special[lane];
  }
  if (any != 0) {
    return false;
  }
  Doubles parts[kDoubles] = {};
  Longs tops{};
  int64_t part = 0;
  for_powers(scores, count * kDoubles, top, [&](const Doubles& e, const Doubles& distance) {
    parts[part] += distance < 0 ? e : Doubles{};
    tops -= distance == 0;
    part = part + 1 == kDoubles ? 0 : part + 1;
  });
  Doubles sum{};
  for (const Doubles& one : parts) {
    sum += one;
  }
  sum += __builtin_convertvector(tops, Doubles);
  for (int64_t c = 0; c < count; ++c) {
    const Doubles share = load_doubles(scores + c * kDoubles) / sum;
    std::memcpy(scores + c * kDoubles, &share, sizeof(share));
  }
  for (int64_t row = 0; row < kDoubles; ++row) {
    for (int64_t c = 0; c < count; ++c) {
      probs[row * count + c] = static_cast<V>(scores[c * kDoubles + row]);
    }
  }
  if (top_probs != nullptr) {
    for (int64_t row = 0; row < kDoubles; ++row) {
      top_probs[row] = static_cast<float>(1.0 / sum[row]);
    }
  }
  return true;
}

// Softmax of contiguous rows; `padded` as for one of them, and `top_probs` one for each or null.
template <class V>
void softmax_rows(const V* values, int64_t rows, int64_t count, double* padded, V* probs,
                  float* top_probs) {
  const int64_t step = count <= kNarrowRow ? kDoubles : 1;
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t last = std::min(rows, first + step);
    float* tops = top_probs == nullptr ? nullptr : top_probs + first;
    if (step > 1 && last - first == step &&
        softmax_lanes(values + first * count, count, probs + first * count, tops)) {
      continue;
    }
    for (int64_t row = first; row < last; ++row) {
      softmax_row(values + row * count, count, padded, probs + row * count,
                  tops == nullptr ? nullptr : tops + (row - first));
    }
  }
}
