// Softmax of rows of scores, in double. Included by the kernels, after values.h.

#include "values.inl"

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
  for (int64_t c = 0; c < length; c += kDoubles) {
    const Doubles distance = load_doubles(padded + c) - top;
    const Doubles e = exp_below_one(distance);
    std::memcpy(padded + c, &e, sizeof(e));
    sums += distance < 0 ? e : Doubles{};
    ones -= distance == 0;
  }
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
inline constexpr int64_t kNarrowRow = 64;

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
  Doubles sum{};
  Longs tops{};
  for (int64_t lane = 0; lane < std::min<int64_t>(kDoubles, count); ++lane) {
    Doubles part{};
    for (int64_t c = lane; c < count; c += kDoubles) {
      const Doubles distance = load_doubles(scores + c * kDoubles) - top;
      const Doubles e = exp_below_one(distance);
      std::memcpy(scores + c * kDoubles, &e, sizeof(e));
      part += distance < 0 ? e : Doubles{};
      tops -= distance == 0;
    }
    sum += part;
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
