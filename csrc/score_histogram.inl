#include "scores.inl"
#include "values.inl"

template <class T>
void load_scores(const void* scores, int64_t offset, int64_t stride, int64_t count,
                 ValueOf<T>* values) {
  const T* first = static_cast<const T*>(scores) + offset;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = to_value(first[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = to_value(first[i * stride]);
    }
  }
}

template <class T>
constexpr LoadScores<ValueOf<T>> kLoadScores = load_scores<T>;

// 1 / (1 + exp(-x)) to about 1e-5, enough to name the nearest of kMaxGuessed thresholds.
FM_INLINE float rough_sigmoid(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float exponent = x * -1.44269504f;
  exponent = exponent < 120.0f ? exponent : 120.0f;
  exponent = exponent > -120.0f ? exponent : -120.0f;
  const float shifted = exponent + kRound;
  const float f = exponent - (shifted - kRound);
  const float power =
      1.0f + f * (0.69314718f + f * (0.24022651f + f * (0.05550411f + f * 0.00961813f)));
  const int32_t whole = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const float scale = std::bit_cast<float>((whole + 127) * (1 << 23));
  return 1.0f / (1.0f + power * scale);
}

// As many bins as numbers fit into a register.
template <class V>
struct BinVector;
template <>
struct BinVector<float> {
  typedef int32_t Type __attribute__((vector_size(FM_VECTOR_BYTES)));
};
template <>
struct BinVector<double> {
  typedef int32_t Type __attribute__((vector_size(FM_VECTOR_BYTES / 2)));
};

// Numbers of one register.
template <class V>
struct Vectors {
  using Integer = std::conditional_t<sizeof(V) == 8, int64_t, int32_t>;
  static constexpr int kCount = FM_VECTOR_BYTES / sizeof(V);
  typedef V Values __attribute__((vector_size(FM_VECTOR_BYTES)));
  typedef Integer Masks __attribute__((vector_size(FM_VECTOR_BYTES)));
  using Bins = typename BinVector<V>::Type;

  FM_INLINE static Values load(const V* data) {
    Values v;
    std::memcpy(&v, data, sizeof(v));
    return v;
  }
  // Compilers build a gather from single loads: 1e6 scores take 0.7 ms that way, 0.2 ms this way.
  FM_INLINE static Values gather(const V* data, const Bins& at) {
#if defined(FM_AVX512)
    if constexpr (sizeof(V) == 4) {
      return (Values)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)at, data, 4);
    } else {
      return (Values)_mm512_mask_i32gather_pd(_mm512_setzero_pd(), 0xff, (__m256i)at, data, 8);
    }
#else
    Values v;
    for (int lane = 0; lane < kCount; ++lane) {
      v[lane] = data[at[lane]];
    }
    return v;
#endif
  }
};

// Adds `step` to bins[i] where values[i] reaches edges[bins[i]].
template <class V>
FM_INLINE void advance_bins(const V* values, const V* edges, int32_t step, int64_t count,
                            int32_t* bins) {
  using L = Vectors<V>;
  int64_t i = 0;
  for (; i + L::kCount <= count; i += L::kCount) {
    typename L::Bins bin;
    std::memcpy(&bin, bins + i, sizeof(bin));
    const typename L::Masks reached = L::load(values + i) >= L::gather(edges, bin);
    bin += __builtin_convertvector(reached, typename L::Bins) & step;
    std::memcpy(bins + i, &bin, sizeof(bin));
  }
  for (; i < count; ++i) {
    bins[i] += values[i] >= edges[bins[i]] ? step : 0;
  }
}

// The threshold nearest to `position` on a scale where threshold k lies at about k.
FM_INLINE int32_t nearest(float position, float last) {
  position = position > 0.0f ? position : 0.0f;  // NaN as well
  position = position < last ? position : last;
  return static_cast<int32_t>(position + 0.5f);
}

// bins[i]: how many thresholds do not lie above values[i]; none for NaN. Either a guess names the
// nearest threshold, and comparing with that one decides, or a search halves the range.
template <class V>
void find_bins(const V* values, int64_t count, const EdgeRow<V>& row, int32_t* bins) {
  const float last = static_cast<float>(row.count - 1);
  int32_t left = 1;
  if (row.spacing == Spacing::kUniform) {
    for (int64_t i = 0; i < count; ++i) {
      bins[i] = nearest(static_cast<float>(values[i]) * last, last);
    }
  } else if (row.spacing == Spacing::kLogit) {
    for (int64_t i = 0; i < count; ++i) {
      bins[i] = nearest(rough_sigmoid(static_cast<float>(values[i])) * last, last);
    }
  } else {
    std::fill(bins, bins + count, 0);
    left = row.count;
  }
  while (left > 1) {
    const int32_t half = left / 2;
    advance_bins(values, row.edges + half - 1, half, count, bins);
    left -= half;
  }
  advance_bins(values, row.edges, 1, count, bins);
}

// Adds `step` to the bins of values on the upper side of a split.
template <class V>
void split_bins(const V* values, int64_t count, const V* splits, int32_t step, int32_t* bins) {
  advance_bins(values, splits, step, count, bins);
}

// Counts the NaN among scores whose target counts, and those outside [0, 1].
template <class V>
void note_scores(const V* values, const int32_t* codes, int64_t count, Notes& notes) {
  int32_t nan = 0;
  int32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) {
    nan += (codes[i] >= 0) & (values[i] != values[i]);
    outside += (codes[i] >= 0) & ((values[i] < 0) | (values[i] > 1));
  }
  notes.nan += nan;
  notes.outside += outside;
}

// The same for rows of `width` scores; a row with several NaN counts once.
template <class V>
void note_rows(const V* values, const int32_t* codes, int64_t count, int64_t width, Notes& notes) {
  for (int64_t i = 0; i < count; ++i) {
    const V* row = values + i * width;
    int32_t nan = 0;
    int32_t outside = 0;
    for (int64_t c = 0; c < width; ++c) {
      nan |= row[c] != row[c];
      outside += (row[c] < 0) | (row[c] > 1);
    }
    notes.nan += (codes[i] >= 0) & nan;
    notes.outside += codes[i] >= 0 ? outside : 0;
  }
}

// Bins to cells, in place: base + (2 * row + target) * num_bins + bin, or `nowhere` where nothing
// counts.
inline void locate_scores(const int32_t* codes, const int32_t* rows, int64_t count,
                          const CellMap& map, int32_t* cells) {
  const auto [base, num_bins, nowhere] = map;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t row = rows == nullptr ? 0 : rows[i];
    cells[i] = codes[i] >= 0 ? base + (2 * row + codes[i]) * num_bins + cells[i] : nowhere;
  }
}

// The same for positions with one score per class; the score of the target class has target 1.
inline void locate_rows(const int32_t* codes, int64_t count, int32_t width, const CellMap& map,
                        int32_t* cells) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t* row = cells + i * width;
    if (codes[i] < 0) {
      std::fill(row, row + width, map.nowhere);
      continue;
    }
    for (int32_t c = 0; c < width; ++c) {
      row[c] += map.base + 2 * c * map.num_bins;
    }
    row[codes[i]] += map.num_bins;
  }
}

constexpr LocateKernels kLocate{locate_scores, locate_rows};

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

// Each number rounded up to a V, which leaves `score >= number` as it was.
template <class V>
void round_up(const double* numbers, int64_t count, V* rounded) {
  for (int64_t i = 0; i < count; ++i) {
    rounded[i] = static_cast<V>(numbers[i]);
    if constexpr (sizeof(V) == 4) {
      const int32_t bits = std::bit_cast<int32_t>(rounded[i]);
      const int32_t next = rounded[i] == 0 ? 1 : bits + (bits < 0 ? -1 : 1);
      rounded[i] = rounded[i] < numbers[i] ? std::bit_cast<float>(next) : rounded[i];
    }
  }
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

template <class V>
void softmax_rows(const V* values, int64_t rows, int64_t count, double* padded, V* probs) {
  for (int64_t i = 0; i < rows; ++i) {
    softmax_row(values + i * count, count, padded, probs + i * count);
  }
}

template <class V>
constexpr ScoreKernels<V> kScores{round_up<V>,    find_bins<V>, split_bins<V>,
                                  note_scores<V>, note_rows<V>, softmax_rows<V>};
