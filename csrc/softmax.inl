// Softmax of rows of scores, in double. Included by the kernels, after values.h.

#include "values.inl"

// Softmax of one row in double, rounded to V. `padded` has room for `count` numbers and a vector
// more. Equal infinities share the row, and NaN makes all of it NaN.
template <class V>
FM_INLINE bool softmax_row(const V* row, int64_t count, double* padded, V* probs) {
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
    return true;
  }
  if (std::abs(top) == infinity) {
    const double share = 1.0 / static_cast<double>(std::count(padded, padded + count, top));
    for (int64_t c = 0; c < count; ++c) {
      probs[c] = static_cast<V>(padded[c] == top ? share : 0.0);
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
  return false;
}
