// argmax over the class axis, as torch.argmax: the first of equals, NaN above everything.
#pragma once

#include "scores.h"

namespace fastmetrics {

// Where the scores of a run of positions lie, in elements.
struct ScoreRun {
  int64_t position_stride;
  int64_t class_stride;
  int64_t num_classes;
};

// Positions decided side by side when their scores are, or are made, contiguous per class.
inline constexpr int kTile = 64;
// From this many classes on a row fills vectors by itself; below, rows are transposed into a tile.
inline constexpr int64_t kWideRow = 16;

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

// Folds a vector to one lane, halving it each time.
template <class Key, int kBytes, class Pick>
FM_INLINE Key fold_lanes(const void* lanes, Pick pick) {
  if constexpr (kBytes == sizeof(Key)) {
    Key value;
    std::memcpy(&value, lanes, sizeof(Key));
    return value;
  } else {
    typedef Key Half_ __attribute__((vector_size(kBytes / 2)));
    Half_ low;
    Half_ high;
    std::memcpy(&low, lanes, kBytes / 2);
    std::memcpy(&high, static_cast<const char*>(lanes) + kBytes / 2, kBytes / 2);
    const Half_ picked = pick(low, high);
    return fold_lanes<Key, kBytes / 2>(&picked, pick);
  }
}

struct PickLarger {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a > b ? a : b;
  }
};
struct PickSmaller {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a < b ? a : b;
  }
};

// One contiguous row of at least one vector: find the maximum, then where it stands first. NaN
// lanes are collected in `nan`; with one of them set the result is void.
template <class T>
FM_INLINE int32_t argmax_row(const T* row, int64_t num_classes, typename Lanes<T>::Indices* nan) {
  using L = Lanes<T>;
  using Vector = typename L::Vector;
  using Index = typename L::Index;
  using Indices = typename L::Indices;
  const int64_t last = num_classes - L::kCount;  // the last vector overlaps the one before
  Vector best = L::load(row + last);
  *nan |= Score<T>::nan(best);
  for (int64_t c = 0; c < last; c += L::kCount) {
    const Vector v = L::load(row + c);
    *nan |= Score<T>::nan(v);
    best = v > best ? v : best;
  }
  const Vector top =
      fold_lanes<typename L::Key, 64>(&best, PickLarger{}) - Vector{};  // in every lane
  Indices lane;
  for (int i = 0; i < L::kCount; ++i) {
    lane[i] = i;
  }
  const Indices none = std::numeric_limits<Index>::max() - Indices{};
  Indices first = L::load(row + last) == top ? lane + static_cast<Index>(last) : none;
  for (int64_t c = 0; c < last; c += L::kCount) {
    const Indices here = L::load(row + c) == top ? lane + static_cast<Index>(c) : none;
    first = here < first ? here : first;
  }
  return static_cast<int32_t>(fold_lanes<Index, 64>(&first, PickSmaller{}));
}

// A tile of kTile positions whose scores of one class are contiguous and `pitch` apart between
// classes. Returns whether any score is NaN; then the result is void.
template <class T>
FM_INLINE bool argmax_tile(const T* scores, int64_t pitch, int64_t num_classes,
                           int32_t* best_class) {
  using L = Lanes<T>;
  using Vector = typename L::Vector;
  using Indices = typename L::Indices;
  constexpr int kVectors = kTile / L::kCount;
  Vector best[kVectors];
  Indices winner[kVectors];
  Indices nan{};
  for (int i = 0; i < kVectors; ++i) {
    best[i] = L::load(scores + i * L::kCount);
    winner[i] = Indices{};
    nan |= Score<T>::nan(best[i]);
  }
  for (int64_t c = 1; c < num_classes; ++c) {
    const T* plane = scores + c * pitch;
    for (int i = 0; i < kVectors; ++i) {
      const Vector v = L::load(plane + i * L::kCount);
      const auto larger = v > best[i];
      nan |= Score<T>::nan(v);
      best[i] = larger ? v : best[i];
      winner[i] = larger ? static_cast<typename L::Index>(c) - Indices{} : winner[i];
    }
  }
  for (int i = 0; i < kVectors; ++i) {
    for (int lane = 0; lane < L::kCount; ++lane) {
      best_class[i * L::kCount + lane] = static_cast<int32_t>(winner[i][lane]);
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

// Decides `count` positions; `nan` says per position whether a score was NaN (null: do not say).
// Returns whether any was.
template <class T>
FM_INLINE bool argmax_run_impl(const T* scores, const ScoreRun& run, int64_t count,
                               int32_t* best_class, uint8_t* nan) {
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
      alignas(64) T transposed[kWideRow * kTile];
      transpose_tile(tile, run, transposed);
      redo = argmax_tile(transposed, kTile, run.num_classes, best_class + begin);
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
    const bool larger = (other > key) | (other_nan & !own_nan);
    const bool equal = (other == key) | (other_nan & own_nan);
    count += larger | (equal & (c < own));
  }
  return count;
}

// Replaces the prediction by the target where fewer than top_k classes outrank the target.
template <class T>
FM_INLINE void prefer_target_run_impl(const T* scores, const ScoreRun& run, int64_t count,
                                      const int32_t* target, int64_t top_k, int32_t* best_class) {
  for (int64_t i = 0; i < count; ++i) {
    if (target[i] >= 0 && target[i] != best_class[i] &&
        count_outranking(scores + i * run.position_stride, run, target[i]) < top_k) {
      best_class[i] = target[i];
    }
  }
}

}  // namespace fastmetrics
