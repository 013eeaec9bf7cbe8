inline bool reaches_top(const double* scores, int64_t count, double high, double low) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found |= -static_cast<int64_t>(!((scores[i] < high) & (scores[i] > low)));
  }
  return found != 0;
}

constexpr ReachesTop kReachesTop = reaches_top;
