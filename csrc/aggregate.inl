// One register of double, and masks for it.
struct Doubles {
  static constexpr int kCount = FM_VECTOR_BYTES / 8;
  typedef double Values __attribute__((vector_size(FM_VECTOR_BYTES)));
  typedef int64_t Masks __attribute__((vector_size(FM_VECTOR_BYTES)));

  template <class T>
  FM_INLINE static Values load(const T* data) {
    if constexpr (std::is_same_v<T, double>) {
      Values v;
      std::memcpy(&v, data, sizeof(v));
      return v;
    } else {
      // GCC 12 converts half of a vector at a time.
#if defined(FM_AVX512)
      return (Values)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(data));
#elif FM_VECTOR_BYTES == 32
      return (Values)_mm256_cvtps_pd(_mm_loadu_ps(data));
#else
      typedef T Narrow __attribute__((vector_size(kCount * sizeof(T))));
      Narrow v;
      std::memcpy(&v, data, sizeof(v));
      return __builtin_convertvector(v, Values);
#endif
    }
  }
};

// The better of two; NaN wins and stays.
template <Reduction kind, class V>
FM_INLINE V choose(V best, V value) {
  if constexpr (kind == Reduction::kMax) {
    return (value > best) | (value != value) ? value : best;
  } else {
    return (value < best) | (value != value) ? value : best;
  }
}

template <Reduction kind, class V>
FM_INLINE V reduce(V total, V value) {
  if constexpr (kind == Reduction::kSum) {
    return total + value;
  } else {
    return choose<kind>(total, value);
  }
}

// Adds `count` values, a multiple of kLanes, to the lanes; each lane takes every kLanes-th of them,
// whatever the width of the registers. Checked: a NaN is counted, and replaced as the rule says.
template <Reduction kind, bool checked, class T>
FM_INLINE void reduce_lanes(const T* values, int64_t count, const NanRule& rule, Totals& totals) {
  using D = Doubles;
  constexpr int kRegisters = static_cast<int>(kLanes) / D::kCount;
  typename D::Values sums[kRegisters];
  std::memcpy(sums, totals.values, sizeof(sums));
  typename D::Masks nans = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      typename D::Values value = D::load(values + i + r * D::kCount);
      if constexpr (checked) {
        const typename D::Masks is_nan = value != value;
        nans -= is_nan;
        value = is_nan ? typename D::Values{} + rule.value : value;
      }
      sums[r] = reduce<kind>(sums[r], value);
    }
  }
  std::memcpy(totals.values, sums, sizeof(sums));
  for (int lane = 0; lane < D::kCount; ++lane) {
    totals.nans += nans[lane];
  }
}

// Sums of a block, whose length is a multiple of kLanes; false, and no change, if it holds NaN.
template <class T>
FM_INLINE bool sum_block(const T* values, int64_t count, const NanRule& rule, Totals& totals) {
  double before[kLanes];
  std::memcpy(before, totals.values, sizeof(before));
  reduce_lanes<Reduction::kSum, false>(values, count, rule, totals);
  int clean = 1;
  for (const double lane : totals.values) {
    clean &= lane == lane;
  }
  if (clean == 0) {
    std::memcpy(totals.values, before, sizeof(before));
  }
  return clean != 0;
}

// The same of extremes, which are found in the type of the values: twice as many in a register.
template <Reduction kind, class T>
FM_INLINE bool best_of_block(const T* values, int64_t count, Totals& totals) {
  constexpr int kCount = FM_VECTOR_BYTES / sizeof(T);
  constexpr int kRegisters = static_cast<int>(kLanes) / kCount;
  typedef T Values __attribute__((vector_size(FM_VECTOR_BYTES)));
  Values best[kRegisters];
  std::memcpy(best, values, sizeof(best));
  auto nans = best[0] != best[0];
  for (int r = 1; r < kRegisters; ++r) {
    nans |= best[r] != best[r];
  }
  for (int64_t i = kLanes; i < count; i += kLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      Values value;
      std::memcpy(&value, values + i + r * kCount, sizeof(value));
      nans |= value != value;
      best[r] = (kind == Reduction::kMax ? value > best[r] : value < best[r]) ? value : best[r];
    }
  }
  for (int lane = 0; lane < kCount; ++lane) {
    if (nans[lane]) {
      return false;
    }
  }
  T lanes[kLanes];
  std::memcpy(lanes, best, sizeof(lanes));
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    totals.values[lane] = choose<kind>(totals.values[lane], static_cast<double>(lanes[lane]));
  }
  return true;
}

// Totals of adjacent values. A block in which a NaN shows is read again, from the cache.
template <Reduction kind, class T>
void reduce_values(const T* values, int64_t count, const NanRule& rule, Totals& totals) {
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t first = 0; first < whole; first += kBlock) {
    const int64_t length = std::min(kBlock, whole - first);
    bool clean;
    if constexpr (kind == Reduction::kSum) {
      clean = sum_block(values + first, length, rule, totals);
    } else {
      clean = best_of_block<kind>(values + first, length, totals);
    }
    if (!clean) {
      reduce_lanes<kind, true>(values + first, length, rule, totals);
    }
  }
  for (int64_t i = whole; i < count; ++i) {
    const double value = static_cast<double>(values[i]);
    const bool is_nan = value != value;
    totals.nans += is_nan;
    double& total = totals.values[i - whole];
    total = reduce<kind>(total, is_nan ? rule.value : value);
  }
}

// Sums of value * weight and of the weights; a NaN in either spoils both.
inline void reduce_weighted(const double* values, const double* weights, int64_t count,
                            const NanRule& rule, Totals& totals) {
  using D = Doubles;
  constexpr int kRegisters = static_cast<int>(kLanes) / D::kCount;
  typename D::Values sums[kRegisters];
  typename D::Values shares[kRegisters];
  std::memcpy(sums, totals.values, sizeof(sums));
  std::memcpy(shares, totals.weights, sizeof(shares));
  typename D::Masks nans = {};
  const int64_t keep = rule.keep ? 0 : -1;
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      const typename D::Values value = D::load(values + i + r * D::kCount);
      const typename D::Values weight = D::load(weights + i + r * D::kCount);
      const typename D::Masks is_nan = ((value != value) | (weight != weight)) & keep;
      nans -= is_nan;
      const typename D::Values product = value * weight;
      sums[r] += is_nan ? typename D::Values{} + rule.value * rule.weight : product;
      shares[r] += is_nan ? typename D::Values{} + rule.weight : weight;
    }
  }
  std::memcpy(totals.values, sums, sizeof(sums));
  std::memcpy(totals.weights, shares, sizeof(shares));
  for (int lane = 0; lane < D::kCount; ++lane) {
    totals.nans += nans[lane];
  }
  for (int64_t i = whole; i < count; ++i) {
    const bool is_nan = !rule.keep && (values[i] != values[i] || weights[i] != weights[i]);
    totals.nans += is_nan;
    totals.values[i - whole] += is_nan ? rule.value * rule.weight : values[i] * weights[i];
    totals.weights[i - whole] += is_nan ? rule.weight : weights[i];
  }
}

template <Reduction kind>
constexpr AggregateKernels kAggregate = {reduce_values<kind, float>, reduce_values<kind, double>,
                                         reduce_weighted};
