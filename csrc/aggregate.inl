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
      typedef T Narrow __attribute__((vector_size(kCount * sizeof(T))));
      Narrow v;
      std::memcpy(&v, data, sizeof(v));
      return __builtin_convertvector(v, Values);
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

// Totals of adjacent values. A sum shows afterwards whether there was a NaN, so the check costs
// nothing where there is none; otherwise the block is read again, from the cache.
template <Reduction kind, class T>
void reduce_values(const T* values, int64_t count, const NanRule& rule, Totals& totals) {
  const int64_t whole = count / kLanes * kLanes;
  if constexpr (kind == Reduction::kSum) {
    for (int64_t first = 0; first < whole; first += kBlock) {
      const int64_t length = std::min(kBlock, whole - first);
      const Totals before = totals;
      reduce_lanes<kind, false>(values + first, length, rule, totals);
      double sum = 0.0;
      for (const double lane : totals.values) {
        sum += lane;
      }
      if (sum != sum) {
        totals = before;
        reduce_lanes<kind, true>(values + first, length, rule, totals);
      }
    }
  } else {
    reduce_lanes<kind, true>(values, whole, rule, totals);
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
