#include "fold.inl"
#include "values.inl"

constexpr int kSigmoids = 4;  // registers worked out in step

// 1 / (1 + exp(-x)) for |x| <= 1, where probabilities lie: 1/2 and an odd polynomial, by Chebyshev.
FM_INLINE Doubles sigmoid_near_zero(Doubles x) {
  const Doubles odd =
      polynomial(x * x, {-1.3993766058584377e-10, 2.0808176586085943e-09, -2.2023685223252293e-08,
                         2.1911432214475027e-07, -2.1638188927780847e-06, 2.135690731507132e-05,
                         -0.00021081348976070624, 0.0020833333331542973, -0.020833333333327923,
                         0.24999999999999997});
  return multiply_add(x, odd, Doubles{} + 0.5);
}

// 1 / (1 + exp(-x)) in double, rounded to V; the value does not depend on the neighbours.
template <class V>
FM_INLINE void sigmoid_vectors(const V* values, V* probs) {
  using Narrow = typename NarrowVector<V>::Type;
  Doubles x[kSigmoids];
  Longs far{};
#pragma GCC unroll 4
  for (int k = 0; k < kSigmoids; ++k) {
    x[k] = load_widened(values + k * kDoubles);
    far |= (x[k] < -1.0) | (x[k] > 1.0) | (x[k] != x[k]);
  }
  Doubles shares[kSigmoids];
#pragma GCC unroll 4
  for (int k = 0; k < kSigmoids; ++k) {
    shares[k] = sigmoid_near_zero(x[k]);
  }
  if (fold_lanes<int64_t, FM_VECTOR_BYTES>(&far, PickAny{}) != 0) {
    Doubles power[kSigmoids];
#pragma GCC unroll 4
    for (int k = 0; k < kSigmoids; ++k) {
      power[k] = x[k] < 0 ? x[k] : -x[k];
    }
    exp_below_one(power);
#pragma GCC unroll 4
    for (int k = 0; k < kSigmoids; ++k) {
      const Doubles share = (x[k] < 0 ? power[k] : Doubles{} + 1.0) / (1.0 + power[k]);
      shares[k] = (x[k] >= -1.0) & (x[k] <= 1.0) ? shares[k] : share;
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kSigmoids; ++k) {
    const Narrow rounded = __builtin_convertvector(shares[k], Narrow);
    std::memcpy(probs + k * kDoubles, &rounded, sizeof(rounded));
  }
}

template <class V>
void sigmoids(const V* values, int64_t count, V* probs) {
  constexpr int64_t kAtOnce = kSigmoids * kDoubles;
  int64_t i = 0;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    sigmoid_vectors(values + i, probs + i);
  }
  if (i < count) {
    V padded[kAtOnce] = {};
    std::copy(values + i, values + count, padded);
    sigmoid_vectors(padded, padded);
    std::copy(padded, padded + (count - i), probs + i);
  }
}

template <class V>
FM_INLINE V clamped(V value) {
  value = value > 0 ? value : V{0};
  return value < 1 ? value : V{1};
}

template <class V>
void clamp_scores(const V* values, int64_t count, V* probs) {
  for (int64_t i = 0; i < count; ++i) {
    probs[i] = clamped(values[i]);
  }
}

// Counts the scores outside [0, 1] of targets that count; those with a NaN are left out.
template <class V>
void screen_scores(const V* values, int32_t* codes, int64_t count, Notes& notes) {
  int32_t nan = 0;
  int32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool is_nan = (codes[i] >= 0) & (values[i] != values[i]);
    nan += is_nan;
    outside += (codes[i] >= 0) & ((values[i] < 0) | (values[i] > 1));
    codes[i] = is_nan ? kIgnored : codes[i];
  }
  notes.nan += nan;
  notes.outside += outside;
}

// cells[i]: the bin of a confidence in [0, 1], or one past the last where the target does not
// count.
template <class V>
void find_cells(const V* confidences, const int32_t* codes, int64_t count, const V* edges,
                int32_t num_bins, int32_t* cells) {
  int32_t left = 1;
  if (num_bins <= kMaxGuessedBins) {
    const float last = static_cast<float>(num_bins - 1);
    for (int64_t i = 0; i < count; ++i) {
      cells[i] = nearest(static_cast<float>(confidences[i]) * last, last);
    }
  } else {
    std::fill(cells, cells + count, 0);
    left = num_bins;
  }
  while (left > 1) {
    const int32_t half = left / 2;
    advance_bins(confidences, edges + half - 1, half, count, cells);
    left -= half;
  }
  advance_bins(confidences, edges, 1, count, cells);
  for (int64_t i = 0; i < count; ++i) {
    cells[i] = codes[i] >= 0 ? cells[i] - 1 : num_bins;
  }
}

// Adds a confidence and a mark to each cell; kLanes tables side by side hide each other's delay
// between a store and a load of the same cell.
template <class V, int kLanes>
FM_INLINE void add_marks(const V* confidences, const int32_t* codes, const int32_t* cells,
                         int64_t count, int64_t pitch, BinPair* table) {
  const double marks[2] = {1.0, 1.0 + kRightMark};
  const auto add = [&](int64_t i, int lane) __attribute__((always_inline)) {
    BinPair& pair = table[lane * pitch + cells[i]];
    pair += BinPair{static_cast<double>(confidences[i]), marks[codes[i] & 1]};
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma GCC unroll 4
    for (int lane = 0; lane < kLanes; ++lane) {
      add(i + lane, lane);
    }
  }
  for (; i < count; ++i) {
    add(i, 0);
  }
}

template <class V>
void add_pairs(const V* confidences, const int32_t* codes, const int32_t* cells, int64_t count,
               int64_t lanes, int64_t pitch, BinPair* table) {
  if (lanes == kBinLanes) {
    add_marks<V, kBinLanes>(confidences, codes, cells, count, pitch, table);
  } else {
    add_marks<V, 1>(confidences, codes, cells, count, pitch, table);
  }
}

template <class V>
constexpr ConfidenceKernels<V> kConfidences{sigmoids<V>, clamp_scores<V>, screen_scores<V>,
                                            find_cells<V>, add_pairs<V>};

// The largest score of a row, and what the notes need.
template <class V>
struct RowSummary {
  V top;
  bool nan;
  int64_t outside;
};

template <class V>
FM_INLINE RowSummary<V> summarise_row(const V* row, int64_t count) {
  using L = Vectors<V>;
  using Values = typename L::Values;
  using Masks = typename L::Masks;
  constexpr V kLowest = -std::numeric_limits<V>::infinity();
  Values best[2] = {Values{} + kLowest, Values{} + kLowest};
  Masks nan[2] = {};
  Masks outside[2] = {};
  const auto visit = [&](int chain, const Values& v) __attribute__((always_inline)) {
    best[chain] = v > best[chain] ? v : best[chain];
    nan[chain] |= v != v;
    outside[chain] -= (v < 0) | (v > 1);
  };
  int64_t c = 0;
  for (; c + 2 * L::kCount <= count; c += 2 * L::kCount) {
    visit(0, L::load(row + c));
    visit(1, L::load(row + c + L::kCount));
  }
  for (; c + L::kCount <= count; c += L::kCount) {
    visit(0, L::load(row + c));
  }
  int64_t filled = 0;
  if (c < count) {
    Values tail = Values{} + kLowest;
    std::memcpy(&tail, row + c, (count - c) * sizeof(V));
    visit(1, tail);
    filled = L::kCount - (count - c);  // -inf, which counts as outside
  }
  const Values top = best[0] > best[1] ? best[0] : best[1];
  const Masks any_nan = nan[0] | nan[1];
  const Masks all_outside = outside[0] + outside[1];
  constexpr int kBytes = FM_VECTOR_BYTES;
  using Integer = typename L::Integer;
  return {fold_lanes<V, kBytes>(&top, PickLarger{}),
          fold_lanes<Integer, kBytes>(&any_nan, PickAny{}) != 0,
          fold_lanes<Integer, kBytes>(&all_outside, PickSum{}) - filled};
}

// The largest softmax probability of a row without NaN; equal infinities share the row.
template <class V>
FM_INLINE double row_share(const V* row, int64_t count, V top) {
  if (std::abs(top) == std::numeric_limits<V>::infinity()) {
    return 1.0 / static_cast<double>(std::count(row, row + count, top));
  }
  constexpr int kChains = 4;
  const Doubles largest = Doubles{} + static_cast<double>(top);
  Doubles sums[kChains] = {};
  Doubles powers[kChains];
  int64_t c = 0;
  for (; c + kChains * kDoubles <= count; c += kChains * kDoubles) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) {
      powers[chain] = load_widened(row + c + chain * kDoubles) - largest;
    }
    exp_below_one(powers);
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] += powers[chain];
    }
  }
  for (; c + kDoubles <= count; c += kDoubles) {
    sums[0] += exp_below_one(load_widened(row + c) - largest);
  }
  if (c < count) {
    V tail[kDoubles];
    std::fill(tail, tail + kDoubles, -std::numeric_limits<V>::infinity());
    std::copy(row + c, row + count, tail);
    sums[1] += exp_below_one(load_widened(tail) - largest);
  }
  const Doubles sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return 1.0 / fold_lanes<double, FM_VECTOR_BYTES>(&sum, PickSum{});
}

// Whether class `own` holds the first of the largest scores.
template <class V>
FM_INLINE bool is_first_top(const V* row, int64_t own, V top) {
  if (row[own] != top) {
    return false;
  }
  int32_t earlier = 0;
  for (int64_t c = 0; c < own; ++c) {
    earlier |= row[c] == top;
  }
  return earlier == 0;
}

// Contiguous rows of scores. `codes` go in as classes and come out as whether the top one is right.
template <class V>
void read_rows(const V* rows, int64_t pitch, int64_t num_classes, int64_t count, int32_t* codes,
               float* tops, float* shares, Notes& notes) {
  for (int64_t i = 0; i < count; ++i) {
    tops[i] = 0.0f;
    if (shares != nullptr) {
      shares[i] = 0.0f;
    }
    if (codes[i] < 0) {
      continue;
    }
    const V* row = rows + i * pitch;
    const RowSummary<V> summary = summarise_row(row, num_classes);
    notes.outside += summary.outside;
    if (summary.nan) {
      ++notes.nan;
      codes[i] = kIgnored;
      continue;
    }
    codes[i] = is_first_top(row, codes[i], summary.top);
    tops[i] = static_cast<float>(clamped(summary.top));
    if (shares != nullptr) {
      shares[i] = static_cast<float>(row_share(row, num_classes, summary.top));
    }
  }
}

// The same for kPlaneTile positions whose scores of one class are contiguous and `pitch` apart
// between classes; the first `count` of them are real.
template <class V>
void read_planes(const V* tile, int64_t pitch, int64_t num_classes, int64_t count, int32_t* codes,
                 float* tops, float* shares, Notes& notes) {
  using L = Vectors<V>;
  using Values = typename L::Values;
  using Masks = typename L::Masks;
  using Index = typename L::Integer;
  alignas(64) V best[kPlaneTile];
  alignas(64) Index winner[kPlaneTile];
  alignas(64) Index nan[kPlaneTile];
  alignas(64) Index outside[kPlaneTile];
  for (int64_t begin = 0; begin < kPlaneTile; begin += L::kCount) {
    Values top = L::load(tile + begin);
    Masks first{};
    Masks any_nan = top != top;
    Masks out{};
    out -= (top < 0) | (top > 1);
    for (int64_t c = 1; c < num_classes; ++c) {
      const Values v = L::load(tile + c * pitch + begin);
      const auto larger = v > top;
      top = larger ? v : top;
      first = larger ? static_cast<Index>(c) - Masks{} : first;
      any_nan |= v != v;
      out -= (v < 0) | (v > 1);
    }
    std::memcpy(best + begin, &top, sizeof(top));
    std::memcpy(winner + begin, &first, sizeof(first));
    std::memcpy(nan + begin, &any_nan, sizeof(any_nan));
    std::memcpy(outside + begin, &out, sizeof(out));
  }
  for (int64_t i = 0; i < count; ++i) {
    const bool counts = codes[i] >= 0;
    notes.outside += counts ? outside[i] : 0;
    notes.nan += counts && nan[i] != 0;
    tops[i] = nan[i] != 0 ? 0.0f : static_cast<float>(clamped(best[i]));
    codes[i] = !counts ? codes[i] : nan[i] != 0 ? kIgnored : codes[i] == winner[i];
  }
  if (shares == nullptr) {
    return;
  }
  alignas(64) double share[kPlaneTile];
  for (int64_t begin = 0; begin < count; begin += kDoubles) {
    const Doubles top = load_widened(best + begin);
    Doubles sum{};
    for (int64_t c = 0; c < num_classes; ++c) {
      const Doubles scores = load_widened(tile + c * pitch + begin);
      sum += scores == top ? Doubles{} + 1.0 : exp_below_one(scores - top);
    }
    const Doubles shared = 1.0 / sum;
    std::memcpy(share + begin, &shared, sizeof(shared));
  }
  for (int64_t i = 0; i < count; ++i) {
    shares[i] = nan[i] != 0 ? 0.0f : static_cast<float>(share[i]);
  }
}

template <class V>
constexpr TopKernels<V> kTops{read_rows<V>, read_planes<V>};
