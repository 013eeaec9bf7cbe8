// NaN is neither at least 0 nor at most the largest weight, as comparisons see it. Products of sums
// of larger weights would not be finite.
inline int64_t replace_bad_weights(double* weights, int64_t count, double instead) {
  constexpr double kLargest = 1e100;
  int64_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool good = (weights[i] >= 0.0) & (weights[i] <= kLargest);
    bad += good ? 0 : 1;
    weights[i] = good ? weights[i] : instead;
  }
  return bad;
}

inline int64_t count_out_of_range(const double* weights, int64_t count) {
  constexpr double kLargest = std::numeric_limits<double>::max();
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found += (weights[i] < 0.0) | (weights[i] > kLargest) ? 1 : 0;
  }
  return found;
}

constexpr auto kCountOutOfRange = count_out_of_range;
constexpr auto kReplaceBadWeights = replace_bad_weights;
