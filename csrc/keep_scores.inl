#include "scores.inl"

// Scores `stride` apart to places `pitch` apart, bit by bit.
template <class T>
void copy_scores(const T* scores, int64_t stride, int64_t count, T* kept, int64_t pitch) {
  if (stride == 1 && pitch == 1) {
    std::memcpy(kept, scores, count * sizeof(T));
  } else {
    for (int64_t i = 0; i < count; ++i) {
      kept[i * pitch] = scores[i * stride];
    }
  }
}

// Counts the NaN among scores whose target counts, and those outside [0, 1].
template <class T>
void note_scores(const T* scores, const int32_t* codes, int64_t count, typename Score<T>::Key one,
                 Notes& notes) {
  int32_t nan = 0;
  int32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto key = Score<T>::key(scores[i]);
    nan += (codes[i] >= 0) & Score<T>::nan(key);
    outside += (codes[i] >= 0) & ((key < 0) | (key > one)) & !Score<T>::nan(key);
  }
  notes.nan += nan;
  notes.outside += outside;
}

// The same for rows of `width` scores; a row with several NaN counts once. Where no row is left out
// and none has NaN, the scores need not be told apart by rows.
template <class T>
void note_rows(const T* scores, const int32_t* codes, int64_t count, int64_t width,
               typename Score<T>::Key one, Notes& notes) {
  int32_t all_nan = 0;
  int32_t all_outside = 0;
  for (int64_t i = 0; i < count * width; ++i) {
    const auto key = Score<T>::key(scores[i]);
    all_nan += Score<T>::nan(key);
    all_outside += ((key < 0) | (key > one)) & !Score<T>::nan(key);
  }
  int32_t left_out = 0;
  for (int64_t i = 0; i < count; ++i) {
    left_out += codes[i] < 0;
  }
  if (left_out == 0 && all_nan == 0) {
    notes.outside += all_outside;
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] < 0) {
      continue;
    }
    const T* row = scores + i * width;
    int32_t nan = 0;
    for (int64_t c = 0; c < width; ++c) {
      const auto key = Score<T>::key(row[c]);
      nan |= Score<T>::nan(key);
      notes.outside += ((key < 0) | (key > one)) & !Score<T>::nan(key);
    }
    notes.nan += nan;
  }
}

// Codes in the type of the kept labels; its last value, 255 or -1, for what is left out.
template <class L>
void write_labels(const int32_t* codes, int64_t count, void* labels, int64_t first) {
  L* kept = static_cast<L*>(labels) + first;
  for (int64_t i = 0; i < count; ++i) {
    kept[i] = static_cast<L>(codes[i] < 0 ? -1 : codes[i]);
  }
}

template <class T>
constexpr KeepKernels<T> kKeep{copy_scores<T>, note_scores<T>, note_rows<T>};
template <class L>
constexpr WriteLabels kWriteLabels = write_labels<L>;
