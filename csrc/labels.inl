// Labels to codes, one loop per integer type.

template <class T>
FM_INLINE int32_t code_of(T label, int64_t limit, bool has_ignore, int64_t ignore) {
  const int64_t value = static_cast<int64_t>(label);
  const bool inside = static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
  const int32_t code = inside ? static_cast<int32_t>(value) : kBad;
  return has_ignore && value == ignore ? kIgnored : code;
}

template <class T>
FM_INLINE int64_t read_labels(const T* labels, int64_t stride, int64_t count, const LabelRule& rule,
                              int32_t* codes) {
  const int64_t limit = rule.limit;
  const bool has_ignore = rule.ignore.has_value();
  const int64_t ignore = rule.ignore.value_or(0);
  int32_t bad = 0;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      codes[i] = code_of(labels[i], limit, has_ignore, ignore);
      bad += codes[i] == kBad;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      codes[i] = code_of(labels[i * stride], limit, has_ignore, ignore);
      bad += codes[i] == kBad;
    }
  }
  return bad;
}

template <class T>
int64_t read(const void* labels, int64_t offset, int64_t stride, int64_t count,
             const LabelRule& rule, int32_t* codes) {
  return read_labels(static_cast<const T*>(labels) + offset, stride, count, rule, codes);
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

constexpr PairKernels kPairs{spoil_targets, pair_cells};
