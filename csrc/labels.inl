// Labels to codes, one loop per integer type.

template <class T>
FM_INLINE int32_t code_of(T label, int64_t limit, bool has_ignore, int64_t ignore) {
  const int64_t value = static_cast<int64_t>(label);
  const bool inside = static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
  const int32_t code = inside ? static_cast<int32_t>(value) : kBad;
  return has_ignore && value == ignore ? kIgnored : code;
}

// Labels that are all classes, as most are: 1e6 of int64 take 0.75 ms this way, 1.4 ms when each is
// decided by itself. False where one may be something else; then the codes mean nothing.
template <class T>
FM_INLINE bool read_classes(const T* labels, int64_t stride, int64_t count, int64_t limit,
                            int32_t* codes) {
  using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  const Word last = static_cast<Word>(limit - 1);
  Word signs = 0;  // the sign of a label, or of what is left of it up to the last class
  for (int64_t i = 0; i < count; ++i) {
    const Word label = static_cast<Word>(labels[i * stride]);
    codes[i] = static_cast<int32_t>(label);
    signs |= label | (last - label);
  }
  return signs >> (8 * sizeof(Word) - 1) == 0;
}

template <class T>
FM_INLINE int64_t read_labels(const T* labels, int64_t stride, int64_t count, const LabelRule& rule,
                              int32_t* codes) {
  if (read_classes(labels, stride, count, rule.limit, codes) && !rule.ignores_a_class()) {
    return 0;
  }
  const bool has_ignore = rule.ignore.has_value();
  const int64_t ignore = rule.ignore.value_or(0);
  int32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = code_of(labels[i * stride], rule.limit, has_ignore, ignore);
    bad += codes[i] == kBad;
  }
  return bad;
}

template <class T>
int64_t read(const void* labels, int64_t offset, int64_t stride, int64_t count,
             const LabelRule& rule, int32_t* codes) {
  const T* first = static_cast<const T*>(labels) + offset;
  return stride == 1 ? read_labels(first, 1, count, rule, codes)
                     : read_labels(first, stride, count, rule, codes);
}

template <class T>
constexpr ReadLabels kReadLabels = read<T>;

// Predictions that are labels: a bad one spoils a target that counts.
inline int64_t spoil_targets(const int32_t* pred, int64_t count, int32_t* target) {
  int32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool spoiled = (target[i] >= 0) & (pred[i] == kBad);
    target[i] = spoiled ? kBad : target[i];
    bad += spoiled;
  }
  return bad;
}

inline void pair_cells(const int32_t* target, const int32_t* pred, int64_t count,
                       int32_t num_classes, int32_t* cells) {
  for (int64_t i = 0; i < count; ++i) {
    cells[i] = target[i] >= 0 ? target[i] * num_classes + pred[i] : num_classes * num_classes;
  }
}

inline void tally_places(const int32_t* target, const int32_t* pred, int64_t count,
                         int32_t* target_places, int32_t* pred_places) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t found = target[i] >= 0 ? pred[i] : target[i];
    target_places[i] = target[i] * kClassTallies + (found == target[i] ? kHit : kMissed);
    pred_places[i] = found * kClassTallies + kCalled;
  }
}

constexpr PairKernels kPairs{spoil_targets, pair_cells, tally_places};
