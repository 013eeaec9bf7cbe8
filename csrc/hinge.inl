// Hinge losses of a block of samples, summed in double; scores come widened to double.

#include "softmax.inl"

// Copies `count` rows of `width` scores that lie `pitch` apart, a score `step` after the other.
template <class T>
void widen_rows(const void* scores, int64_t offset, int64_t pitch, int64_t step, int64_t count,
                int64_t width, double* rows) {
  const T* first = static_cast<const T*>(scores) + offset;
  if (step == 1 && (pitch == width || count == 1)) {
    for (int64_t i = 0; i < count * width; ++i) {
      rows[i] = to_value(first[i]);
    }
  } else if (pitch == 1) {
    for (int64_t c = 0; c < width; ++c) {
      for (int64_t i = 0; i < count; ++i) {
        rows[i * width + c] = to_value(first[c * step + i]);
      }
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < width; ++c) {
        rows[i * width + c] = to_value(first[i * pitch + c * step]);
      }
    }
  }
}

template <class T>
constexpr WidenRows kWidenRows = widen_rows<T>;

// What each position adds before weights: 1 where the target counts. Signs are those of margins.
inline void mark_targets(const int32_t* codes, int64_t count, double* amounts, double* signs) {
  for (int64_t i = 0; i < count; ++i) {
    amounts[i] = codes[i] >= 0 ? 1.0 : 0.0;
    signs[i] = codes[i] == 1 ? 1.0 : -1.0;
  }
}

inline void note_hinge_rows(const double* rows, const int32_t* codes, int64_t count, int64_t width,
                            Notes& notes) {
  if (width == 1) {
    int64_t nan = 0;
    int64_t outside = 0;
    for (int64_t i = 0; i < count; ++i) {
      nan += (codes[i] >= 0) & (rows[i] != rows[i]);
      outside += (codes[i] >= 0) & ((rows[i] < 0.0) | (rows[i] > 1.0));
    }
    notes.nan += nan;
    notes.outside += outside;
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const double* row = rows + i * width;
    int64_t nan = 0;
    int64_t outside = 0;
    for (int64_t c = 0; c < width; ++c) {
      nan += row[c] != row[c];
      outside += (row[c] < 0.0) | (row[c] > 1.0);
    }
    notes.nan += (codes[i] >= 0) & (nan > 0);
    notes.outside += codes[i] >= 0 ? outside : 0;
  }
}

template <class V>
FM_INLINE V hinge_loss(V margin, bool squared) {
  const V short_by = 1.0 - margin;
  const V loss = short_by < 0.0 ? V{} : short_by;  // NaN stays
  return squared ? loss * loss : loss;
}

FM_INLINE Doubles sigmoid(Doubles x) {
  const Doubles e = exp_below_one(x > 0.0 ? -x : x);
  return (x > 0.0 ? Doubles{} + 1.0 : e) / (1.0 + e);
}

// Binary: `signs` are +-1, and what does not count has amount 0. The arrays are padded to whole
// vectors with amounts of 0.
inline double sum_binary(const double* scores, const double* signs, const double* amounts,
                         int64_t count, bool squared, bool logits) {
  Doubles sums{};
  for (int64_t i = 0; i < count; i += kDoubles) {
    Doubles x = load_doubles(scores + i);
    x = logits ? sigmoid(x) : x;
    const Doubles amount = load_doubles(amounts + i);
    const Doubles loss = hinge_loss(load_doubles(signs + i) * x, squared);
    sums += amount == 0.0 ? Doubles{} : amount * loss;
  }
  double total = 0.0;
  for (int lane = 0; lane < kDoubles; ++lane) {
    total += sums[lane];
  }
  return total;
}

// The largest number except the one at `skipped`; NaN if there is one among the others.
FM_INLINE double largest_other(const double* row, int64_t width, int64_t skipped) {
  Doubles lanes = Doubles{} - std::numeric_limits<double>::infinity();
  Longs nans{};
  double largest = lanes[0];
  int64_t nan = 0;
  const auto scan = [&](int64_t begin, int64_t end) {
    int64_t c = begin;
    for (; c + kDoubles <= end; c += kDoubles) {
      const Doubles v = load_doubles(row + c);
      lanes = v > lanes ? v : lanes;
      nans |= v != v;
    }
    for (; c < end; ++c) {
      largest = row[c] > largest ? row[c] : largest;
      nan |= row[c] != row[c];
    }
  };
  scan(0, skipped);
  scan(skipped + 1, width);
  for (int lane = 0; lane < kDoubles; ++lane) {
    largest = lanes[lane] > largest ? lanes[lane] : largest;
    nan |= nans[lane];
  }
  return nan != 0 ? std::numeric_limits<double>::quiet_NaN() : largest;
}

// One loss per row, or one per class; `padded` and `probs` have room for a row and a vector more.
inline void sum_rows(const double* rows, const int32_t* codes, const double* amounts, int64_t count,
                     int64_t width, const HingeKind& kind, double* padded, double* probs,
                     double* sums) {
  for (int64_t i = 0; i < count; ++i) {
    const double amount = amounts[i];
    const int64_t target = codes[i];
    if (target < 0 || amount == 0.0) {
      continue;
    }
    const double* row = rows + i * width;
    if (kind.logits) {
      softmax_row(row, width, padded, probs);
      row = probs;
    }
    if (kind.per_class) {
      const double own = row[target];
      for (int64_t c = 0; c < target; ++c) {
        sums[c] += amount * hinge_loss(-row[c], kind.squared);
      }
      sums[target] += amount * hinge_loss(own, kind.squared);
      for (int64_t c = target + 1; c < width; ++c) {
        sums[c] += amount * hinge_loss(-row[c], kind.squared);
      }
    } else {
      const double rival = largest_other(row, width, target);
      const double margin = row[target] == rival ? 0.0 : row[target] - rival;
      sums[0] += amount * hinge_loss(margin, kind.squared);
    }
  }
}

constexpr HingeKernels kHinge{mark_targets, note_hinge_rows, sum_binary, sum_rows};
