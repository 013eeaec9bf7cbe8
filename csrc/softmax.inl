// Scores as numbers, and the softmax of a row of them. Included by the kernels.

#include "scores.inl"

// Scores as numbers: 16-bit floats become float, the others stay.
FM_INLINE float to_value(float score) { return score; }
FM_INLINE double to_value(double score) { return score; }
FM_INLINE float to_value(BFloat16 score) {
  return std::bit_cast<float>(static_cast<uint32_t>(score.bits) << 16);
}
FM_INLINE float to_value(Half score) {
  const uint32_t exponent = score.bits & 0x7c00;
  const uint32_t magnitude = (score.bits & 0x7fffu) << 13;
  const uint32_t rebased = magnitude + (exponent == 0x7c00 ? 0x70000000u : 0x38000000u);
  const float tiny = static_cast<float>(static_cast<int32_t>(score.bits & 0x3ff)) * 0x1p-24f;
  const uint32_t bits = exponent == 0 ? std::bit_cast<uint32_t>(tiny) : rebased;
  return std::bit_cast<float>(bits | (score.bits & 0x8000u) << 16);
}

typedef double Doubles __attribute__((vector_size(FM_VECTOR_BYTES)));
typedef int64_t Longs __attribute__((vector_size(FM_VECTOR_BYTES)));
inline constexpr int kDoubles = FM_VECTOR_BYTES / 8;

FM_INLINE Doubles load_doubles(const double* data) {
  Doubles v;
  std::memcpy(&v, data, sizeof(v));
  return v;
}

// exp(x) for x <= 0 to the last digit or two; 0 below the normal range.
FM_INLINE Doubles exp_below_one(Doubles x) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const auto vanishes = x < -708.0;
  const Doubles bounded = vanishes ? Doubles{} - 708.0 : x;
  const Doubles shifted = bounded * 1.4426950408889634 + kRound;
  const Doubles n = shifted - kRound;
  const Doubles r = (bounded - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  Doubles power = Doubles{} + 1.0 / 479001600.0;
  for (const double c :
       {1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0,
        1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0}) {
    power = power * r + c;
  }
  Longs bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits - std::bit_cast<int64_t>(kRound) + 1023) << 52;
  Doubles scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return vanishes ? Doubles{} : power * scale;
}

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
