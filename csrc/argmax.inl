#include "fold.inl"
#include "lanes.inl"

// Positions decided side by side when their scores are, or are made, contiguous per class.
constexpr int kTile = 64;
// From this many classes on a row is scanned by itself; below, rows are transposed into a tile.
constexpr int64_t kWideRow = 17;

// The definition, one position at a time. Returns whether the position holds a NaN.
template <class T>
FM_INLINE bool argmax_scalar(const T* scores, const ScoreRun& run, int32_t* best_class) {
  auto best = Score<T>::key(scores[0]);
  int64_t winner = 0;
  for (int64_t c = 0; c < run.num_classes; ++c) {
    const auto key = Score<T>::key(scores[c * run.class_stride]);
    if (Score<T>::nan(key)) {
      *best_class = static_cast<int32_t>(c);
      return true;
    }
    if (key > best) {
      best = key;
      winner = c;
    }
  }
  *best_class = static_cast<int32_t>(winner);
  return false;
}

template <class V>
FM_INLINE bool any_lane(const V& lanes) {
  std::array<uint64_t, sizeof(V) / 8> words;
  std::memcpy(words.data(), &lanes, sizeof(V));
  uint64_t any = 0;
  for (const uint64_t word : words) {
    any |= word;
  }
  return any != 0;
}

// One contiguous row of at least one vector. Four running maxima hide the latency of compare and
// select; a strict comparison keeps the first of equals in a lane. NaN lanes are collected in
// `nan`; with one of them set the result is void.
template <class T>
FM_INLINE int32_t argmax_row(const T* row, int64_t num_classes, typename Lanes<T>::Indices* nan) {
  using L = Lanes<T>;
  using Vector = typename L::Vector;
  using Index = typename L::Index;
  using Indices = typename L::Indices;
  constexpr int kChains = 4;
  Indices lane;
  for (int i = 0; i < L::kCount; ++i) {
    lane[i] = i;
  }
  const Vector start = L::load(row);
  Vector best[kChains];
  Indices winner[kChains];
  for (int chain = 0; chain < kChains; ++chain) {
    best[chain] = start;
    winner[chain] = lane;
  }
  Indices seen = Score<T>::nan(start);
  const auto visit = [&](int chain, int64_t c) __attribute__((always_inline)) {
    const Vector v = L::load(row + c);
    const auto larger = v > best[chain];
    seen |= Score<T>::nan(v);
    best[chain] = larger ? v : best[chain];
    winner[chain] = larger ? lane + static_cast<Index>(c) : winner[chain];
  };
  int64_t c = L::kCount;
  for (; c + kChains * L::kCount <= num_classes; c += kChains * L::kCount) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) {
      visit(chain, c + chain * L::kCount);
    }
  }
  for (; c + L::kCount <= num_classes; c += L::kCount) {
    visit(0, c);
  }
  if (c < num_classes) {
    visit(1, num_classes - L::kCount);  // overlaps what was seen before, which changes nothing
  }
  *nan |= seen;
  const Vector low = best[0] > best[1] ? best[0] : best[1];
  const Vector high = best[2] > best[3] ? best[2] : best[3];
  const Vector all = low > high ? low : high;
  const Vector top = fold_lanes<typename L::Key, FM_VECTOR_BYTES>(&all, PickLarger{}) - Vector{};
  Indices first = std::numeric_limits<Index>::max() - Indices{};
  for (int chain = 0; chain < kChains; ++chain) {
    const auto candidate = (best[chain] == top) & (winner[chain] < first);
    first = candidate ? winner[chain] : first;
  }
  return static_cast<int32_t>(fold_lanes<Index, FM_VECTOR_BYTES>(&first, PickSmaller{}));
}

// A tile of kTile positions whose scores of one class are contiguous and `pitch` apart between
// classes. Returns whether any score is NaN; then the result is void.
template <class T>
FM_INLINE bool argmax_tile(const T* tile, int64_t pitch, int64_t num_classes, int32_t* best_class) {
  using L = Lanes<T>;
  using Vector = typename L::Vector;
  using Index = typename L::Index;
  using Indices = typename L::Indices;
  constexpr int kVectors = 4;  // side by side, to hide the latency of compare and select
  constexpr int kStep = kVectors * L::kCount;
  static_assert(kTile % kStep == 0);
  Indices nan{};
  for (int begin = 0; begin < kTile; begin += kStep) {
    const T* scores = tile + begin;
    Vector best[kVectors];
    Indices winner[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      best[i] = L::load(scores + i * L::kCount);
      winner[i] = Indices{};
      nan |= Score<T>::nan(best[i]);
    }
    for (int64_t c = 1; c < num_classes; ++c) {
      const T* plane = scores + c * pitch;
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const Vector v = L::load(plane + i * L::kCount);
        const auto larger = v > best[i];
        nan |= Score<T>::nan(v);
        best[i] = larger ? v : best[i];
        winner[i] = larger ? static_cast<Index>(c) - Indices{} : winner[i];
      }
    }
    for (int i = 0; i < kVectors; ++i) {
      for (int lane = 0; lane < L::kCount; ++lane) {
        best_class[begin + i * L::kCount + lane] = static_cast<int32_t>(winner[i][lane]);
      }
    }
  }
  return any_lane(nan);
}

// Copies the scores of a tile so that each class is contiguous over the positions.
template <class T>
FM_INLINE void transpose_tile(const T* scores, const ScoreRun& run, T* tile) {
  for (int64_t c = 0; c < run.num_classes; ++c) {
    for (int position = 0; position < kTile; ++position) {
      tile[c * kTile + position] = scores[position * run.position_stride + c * run.class_stride];
    }
  }
}

#if defined(FM_AVX512)
// The same as transpose_tile and argmax_tile, but in registers: 16 rows of at most 16 contiguous
// classes are loaded under a mask and transposed by zipping. 65536 x 10 float32 on one thread: 5.4
// ns a row through memory, 2.7 ns in registers.
constexpr int kRows = 16;

template <class T>
FM_INLINE typename Lanes<T>::Vector load_narrow(const T* row, int64_t num_classes) {
  const uint32_t mask = (1u << num_classes) - 1;
  if constexpr (std::is_same_v<T, float>) {
    return (typename Lanes<T>::Vector)_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row);
  } else {
    typedef int16_t Bits __attribute__((vector_size(32)));
    const auto bits = (Bits)_mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask), row);
    return Score<T>::from_bits(__builtin_convertvector(bits, typename Lanes<T>::Vector));
  }
}

template <class T>
FM_INLINE typename Lanes<T>::Indices argmax_narrow_rows(const T* rows, const ScoreRun& run,
                                                        int32_t* best_class) {
  using Vector = typename Lanes<T>::Vector;
  using Indices = typename Lanes<T>::Indices;
  const Indices kLow = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  const Indices kHigh = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  Vector v[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    v[i] = load_narrow(rows + i * run.position_stride, run.num_classes);
  }
#pragma GCC unroll 4
  for (int stage = 0; stage < 4; ++stage) {
    Vector zipped[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
      zipped[2 * i] = __builtin_shuffle(v[i], v[i + kRows / 2], kLow);
      zipped[2 * i + 1] = __builtin_shuffle(v[i], v[i + kRows / 2], kHigh);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      v[i] = zipped[i];
    }
  }
  Vector best = v[0];
  Indices winner{};
  Indices nan = Score<T>::nan(best);
#pragma GCC unroll 16
  for (int c = 1; c < kRows; ++c) {
    if (c < run.num_classes) {
      const auto larger = v[c] > best;
      nan |= Score<T>::nan(v[c]);
      best = larger ? v[c] : best;
      winner = larger ? c - Indices{} : winner;
    }
  }
  std::memcpy(best_class, &winner, sizeof(winner));
  return nan;
}

template <class T>
FM_INLINE bool argmax_narrow_tile(const T* rows, const ScoreRun& run, int32_t* best_class) {
  typename Lanes<T>::Indices nan{};
  for (int i = 0; i < kTile; i += kRows) {
    nan |= argmax_narrow_rows(rows + i * run.position_stride, run, best_class + i);
  }
  return any_lane(nan);
}
#endif

// A tile of rows with fewer than kWideRow classes.
template <class T>
FM_INLINE bool argmax_narrow(const T* rows, const ScoreRun& run, int32_t* best_class) {
#if defined(FM_AVX512)
  if constexpr (sizeof(typename Score<T>::Key) == 4) {
    if (run.class_stride == 1) {
      return argmax_narrow_tile(rows, run, best_class);
    }
  }
#endif
  alignas(64) T transposed[kWideRow * kTile];
  transpose_tile(rows, run, transposed);
  return argmax_tile(transposed, kTile, run.num_classes, best_class);
}

// Decides `count` positions; `nan` says per position whether a score was NaN (null: do not say).
// Returns whether any was.
template <class T>
FM_INLINE bool argmax_run(const T* scores, const ScoreRun& run, int64_t count, int32_t* best_class,
                          uint8_t* nan) {
  const bool wide = run.class_stride == 1 && run.num_classes >= kWideRow;
  bool any_nan = false;
  for (int64_t begin = 0; begin < count; begin += kTile) {
    const int64_t length = std::min<int64_t>(kTile, count - begin);
    const T* tile = scores + begin * run.position_stride;
    bool redo = false;
    if (wide) {
      typename Lanes<T>::Indices seen{};
      for (int64_t i = 0; i < length; ++i) {
        best_class[begin + i] = argmax_row(tile + i * run.position_stride, run.num_classes, &seen);
      }
      redo = any_lane(seen);
    } else if (length == kTile && run.position_stride == 1) {
      redo = argmax_tile(tile, run.class_stride, run.num_classes, best_class + begin);
    } else if (length == kTile && run.num_classes < kWideRow) {
      redo = argmax_narrow(tile, run, best_class + begin);
    } else {
      redo = true;
    }
    for (int64_t i = 0; i < length; ++i) {
      bool found = false;
      if (redo) {
        found = argmax_scalar(tile + i * run.position_stride, run, best_class + begin + i);
        any_nan |= found;
      }
      nan[begin + i] = found;
    }
  }
  return any_nan;
}

// How many classes outrank class `own` of one position: larger, or equal and earlier; NaN is
// largest.
template <class T>
FM_INLINE int64_t count_outranking(const T* scores, const ScoreRun& run, int64_t own) {
  using S = Score<T>;
  const auto key = S::key(scores[own * run.class_stride]);
  const bool own_nan = S::nan(key);
  int64_t count = 0;
  for (int64_t c = 0; c < run.num_classes; ++c) {
    const auto other = S::key(scores[c * run.class_stride]);
    const bool other_nan = S::nan(other);
    const bool larger = !own_nan && (other_nan || other > key);
    const bool equal = own_nan ? other_nan : other == key;
    count += larger | (equal & (c < own));
  }
  return count;
}

// Replaces the prediction by the target where fewer than top_k classes outrank the target.
template <class T>
FM_INLINE void prefer_target_run(const T* scores, const ScoreRun& run, int64_t count,
                                 const int32_t* target, int64_t top_k, int32_t* best_class) {
  for (int64_t i = 0; i < count; ++i) {
    if (target[i] >= 0 && target[i] != best_class[i] &&
        count_outranking(scores + i * run.position_stride, run, target[i]) < top_k) {
      best_class[i] = target[i];
    }
  }
}

template <class T>
bool argmax(const void* scores, int64_t offset, const ScoreRun& run, int64_t count,
            int32_t* best_class, uint8_t* nan) {
  return argmax_run(static_cast<const T*>(scores) + offset, run, count, best_class, nan);
}

template <class T>
void prefer_target(const void* scores, int64_t offset, const ScoreRun& run, int64_t count,
                   const int32_t* target, int64_t top_k, int32_t* best_class) {
  prefer_target_run(static_cast<const T*>(scores) + offset, run, count, target, top_k, best_class);
}

template <class T>
constexpr ArgmaxKernels kArgmax{argmax<T>, prefer_target<T>};
