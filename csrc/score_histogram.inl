#include "softmax.inl"

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

// The order-preserving image of a float: as unsigned numbers images order like the scores, -0 is
// +0, and NaN ranks below everything.
FM_INLINE uint32_t image_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  const uint32_t image = static_cast<int32_t>(bits) < 0 ? ~bits : bits | 0x80000000u;
  return score == score ? image : 0;
}

// The same for a float16, given as a float that is rounded to one.
FM_INLINE uint32_t half_image_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Below the normal range the digits to keep are those that adding 1/2 leaves.
  const uint32_t tiny = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
                        std::bit_cast<uint32_t>(0.5f);
  const uint32_t nearest = ((magnitude + 0xfff + ((magnitude >> 13) & 1)) >> 13) - (112u << 10);
  const uint32_t finite = magnitude < 0x38800000u ? tiny : nearest;
  const uint32_t half = finite < 0x7c00 ? finite : 0x7c00;
  const uint32_t image =
      static_cast<int32_t>(bits) < 0 && half != 0 ? ~half & 0x7fff : half | 0x8000;
  return score == score ? image : 0;
}

// bins[i]: the leading bits of the image of values[i].
template <class V>
void image_bins(const V* values, int64_t count, const ImageBits& bits, int32_t* bins) {
  const int32_t shift = bits.shift;
  if (bits.half) {
    for (int64_t i = 0; i < count; ++i) {
      bins[i] = static_cast<int32_t>(half_image_of(static_cast<float>(values[i])) >> shift);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      bins[i] = static_cast<int32_t>(image_of(static_cast<float>(values[i])) >> shift);
    }
  }
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

template <class V>
constexpr ScoreKernels<V> kScores{round_up<V>,    find_bins<V>, image_bins<V>,  split_bins<V>,
                                  note_scores<V>, note_rows<V>, softmax_rows<V>};
