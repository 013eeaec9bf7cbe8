#include "numbers.inl"

typedef double StatDoubles __attribute__((vector_size(FM_VECTOR_BYTES)));
constexpr int kStatWidth = FM_VECTOR_BYTES / 8;
constexpr int kStatRegisters = static_cast<int>(kStatLanes) / kStatWidth;

template <class V>
struct StatVector {
  using Integer = std::conditional_t<sizeof(V) == 8, int64_t, int32_t>;
  // As many as doubles fit into a register.
  typedef V Narrow __attribute__((vector_size(kStatWidth * sizeof(V))));
  // One register.
  typedef V Full __attribute__((vector_size(FM_VECTOR_BYTES)));
  typedef Integer Masks __attribute__((vector_size(FM_VECTOR_BYTES)));
  static constexpr int kWidth = FM_VECTOR_BYTES / sizeof(V);
  static constexpr int kRegisters = static_cast<int>(kStatLanes) / kWidth;
};

template <class V>
struct StatTotals {
  using Lanes_ = StatVector<V>;
  StatDoubles sums[kStatRegisters] = {};
  StatDoubles squares[kStatRegisters] = {};
  typename Lanes_::Full mins[Lanes_::kRegisters];
  typename Lanes_::Full maxs[Lanes_::kRegisters];
  typename Lanes_::Masks nans[Lanes_::kRegisters] = {};
  typename Lanes_::Masks odd[Lanes_::kRegisters] = {};  // NaN or infinite
};

// a * a + c; the square of a float is exact in double, so contraction does not show in its bits.
FM_INLINE StatDoubles add_square(StatDoubles a, StatDoubles c) {
#if defined(FM_AVX512)
  return (StatDoubles)_mm512_fmadd_pd((__m512d)a, (__m512d)a, (__m512d)c);
#elif FM_VECTOR_BYTES == 32
  return (StatDoubles)_mm256_fmadd_pd((__m256d)a, (__m256d)a, (__m256d)c);
#else
  return a * a + c;
#endif
}

template <class V>
FM_INLINE StatDoubles load_wide(const V* values) {
  typename StatVector<V>::Narrow v;
  std::memcpy(&v, values, sizeof(v));
  // GCC 12 converts half of a vector at a time.
#if defined(FM_AVX512)
  if constexpr (sizeof(V) == 4) {
    return (StatDoubles)_mm512_maskz_cvtps_pd(0xff, (__m256)v);
  }
#elif FM_VECTOR_BYTES == 32
  if constexpr (sizeof(V) == 4) {
    return (StatDoubles)_mm256_cvtps_pd((__m128)v);
  }
#endif
  return __builtin_convertvector(v, StatDoubles);
}

// Takes kStatLanes values. Checked: those that are not finite are counted and left out.
template <bool checked, class V>
FM_INLINE void add_lanes(const V* values, StatTotals<V>& totals) {
  using L = StatVector<V>;
  using Full = typename L::Full;
  constexpr V kInfinity = std::numeric_limits<V>::infinity();
  V finite[kStatLanes];
  for (int r = 0; r < L::kRegisters; ++r) {
    Full v;
    std::memcpy(&v, values + r * L::kWidth, sizeof(v));
    Full low = v;
    Full high = v;
    if constexpr (checked) {
      const auto odd = v - v != Full{};
      totals.odd[r] -= odd;
      totals.nans[r] -= v != v;
      low = odd ? Full{} + kInfinity : v;
      high = odd ? Full{} - kInfinity : v;
      const Full kept = odd ? Full{} : v;
      std::memcpy(finite + r * L::kWidth, &kept, sizeof(kept));
    }
    totals.mins[r] = low < totals.mins[r] ? low : totals.mins[r];
    totals.maxs[r] = high > totals.maxs[r] ? high : totals.maxs[r];
  }
  const V* from = checked ? finite : values;
  for (int r = 0; r < kStatRegisters; ++r) {
    const StatDoubles wide = load_wide(from + r * kStatWidth);
    totals.sums[r] += wide;
    totals.squares[r] = add_square(wide, totals.squares[r]);
  }
}

// Statistics of up to kStatBlock values; lane i takes every kStatLanes-th of them.
template <bool checked, class V>
TensorStats block_stats(const V* values, int64_t count) {
  constexpr V kInfinity = std::numeric_limits<V>::infinity();
  StatTotals<V> totals;
  using L = StatVector<V>;
  for (int r = 0; r < L::kRegisters; ++r) {
    totals.mins[r] = typename L::Full{} + kInfinity;
    totals.maxs[r] = typename L::Full{} - kInfinity;
  }
  const int64_t whole = count / kStatLanes * kStatLanes;
  for (int64_t i = 0; i < whole; i += kStatLanes) {
    add_lanes<checked>(values + i, totals);
  }
  double sums[kStatLanes];
  double squares[kStatLanes];
  V mins[kStatLanes];
  V maxs[kStatLanes];
  std::memcpy(sums, totals.sums, sizeof(sums));
  std::memcpy(squares, totals.squares, sizeof(squares));
  std::memcpy(mins, totals.mins, sizeof(mins));
  std::memcpy(maxs, totals.maxs, sizeof(maxs));
  TensorStats stats;
  int64_t odd = 0;
  for (int r = 0; r < L::kRegisters; ++r) {
    for (int lane = 0; lane < L::kWidth; ++lane) {
      stats.nans += totals.nans[r][lane];
      odd += totals.odd[r][lane];
    }
  }
  for (int64_t i = whole; i < count; ++i) {
    const V value = values[i];
    const int64_t lane = i - whole;
    if (checked && value - value != V{0}) {
      ++odd;
      stats.nans += value != value;
      continue;
    }
    mins[lane] = std::min(mins[lane], value);
    maxs[lane] = std::max(maxs[lane], value);
    const double wide = value;
    sums[lane] += wide;
    squares[lane] += wide * wide;
  }
  for (int64_t lane = 0; lane < kStatLanes; ++lane) {
    stats.sum += sums[lane];
    stats.squares += squares[lane];
    stats.min = std::min<double>(stats.min, mins[lane]);
    stats.max = std::max<double>(stats.max, maxs[lane]);
  }
  stats.count = count - odd;
  stats.infinities = odd - stats.nans;
  return stats;
}

// The sum of squares shows whether something was not finite, so the check costs nothing where
// everything is; otherwise the block is read again, from the cache.
template <class V>
FM_INLINE void add_block(const V* values, int64_t count, TensorStats& stats) {
  const TensorStats found = block_stats<false>(values, count);
  stats += std::isfinite(found.squares) ? found : block_stats<true>(values, count);
}

template <class T>
void add_stats(const void* data, int64_t offset, int64_t stride, int64_t count,
               TensorStats& stats) {
  using V = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T* first = static_cast<const T*>(data) + offset;
  V buffer[kStatBlock];
  for (int64_t done = 0; done < count; done += kStatBlock) {
    const int64_t length = std::min(kStatBlock, count - done);
    const T* from = first + done * stride;
    if constexpr (std::is_same_v<T, V>) {
      if (stride == 1) {
        add_block(from, length, stats);
        continue;
      }
    }
    if (stride == 1) {
      for (int64_t i = 0; i < length; ++i) {
        buffer[i] = to_value(from[i]);
      }
    } else {
      for (int64_t i = 0; i < length; ++i) {
        buffer[i] = to_value(from[i * stride]);
      }
    }
    add_block(static_cast<const V*>(buffer), length, stats);
  }
}

template <class T>
constexpr AddStats kAddStats = add_stats<T>;
