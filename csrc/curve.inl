// Sorting and scanning of keys and counts made from images of scores.
#include "sorting.inl"

// The cell of a score is its bin, the leading bits of its image, with the label below; `nowhere` is
// the bin of what is left out.
template <class T>
void name_cells(const T* scores, const uint8_t* labels, int64_t count, int shift, uint32_t nowhere,
                uint32_t* cells) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bin = static_cast<uint32_t>(image_of(scores[i]) >> shift);
    const uint32_t label = labels[i];
    cells[i] = label > 1 ? 2 * nowhere : 2 * bin + label;
  }
}

template <class T>
void count_cells(const T* scores, const uint8_t* labels, int64_t count, int shift, uint32_t nowhere,
                 uint32_t* counts) {
  uint32_t cells[kCurveBlock];
  name_cells(scores, labels, count, shift, nowhere, cells);
  for (int64_t i = 0; i < count; ++i) {
    ++counts[cells[i]];
  }
}

// Puts the key of each score, its image with the label below and without the leading bit, where its
// bucket grows.
template <class T>
void scatter_keys(const T* scores, const uint8_t* labels, int64_t count, int shift,
                  uint32_t nowhere, const uint16_t* bucket_of, ImageOf<T>** ends) {
  uint32_t bins[kCurveBlock];
  ImageOf<T> keys[kCurveBlock];
  for (int64_t i = 0; i < count; ++i) {
    const ImageOf<T> image = image_of(scores[i]);
    const uint32_t label = labels[i];
    keys[i] = static_cast<ImageOf<T>>(image << 1 | (label & 1));
    bins[i] = label > 1 ? nowhere : static_cast<uint32_t>(image >> shift);
  }
  scatter(keys, count, [&](int64_t i) -> ImageOf<T>*& { return ends[bucket_of[bins[i]]]; });
}

// Sums ratios in eight lanes in the order in which they come, so that the bits are the same
// whatever the width of the registers.
class RatioSum {
 public:
  FM_INLINE void push(double numerator, double denominator, bool keep) {
    numerators_[size_] = numerator;
    denominators_[size_] = denominator;
    size_ += keep;
    if (size_ == kBlock) {
      flush();
    }
  }

#ifdef FM_AVX512
  // The first `count` of sixteen ratios.
  FM_INLINE void push(__m512d numerators0, __m512d numerators1, __m512d denominators0,
                      __m512d denominators1, int64_t count) {
    _mm512_storeu_pd(&numerators_[size_], numerators0);
    _mm512_storeu_pd(&numerators_[size_ + 8], numerators1);
    _mm512_storeu_pd(&denominators_[size_], denominators0);
    _mm512_storeu_pd(&denominators_[size_ + 8], denominators1);
    size_ += count;
    if (size_ >= kBlock) {
      const int64_t rest = size_ - kBlock;
      flush();
      std::copy_n(&numerators_[kBlock], kSpare, numerators_.data());
      std::copy_n(&denominators_[kBlock], kSpare, denominators_.data());
      size_ = rest;
    }
  }
#endif

  double total() {
    while (size_ % kLanes != 0) {
      numerators_[size_] = 0.0;
      denominators_[size_++] = 1.0;
    }
    flush();
    double sum = 0.0;
    for (const double lane : lanes_) {
      sum += lane;
    }
    return sum;
  }

 private:
  static constexpr int64_t kLanes = 8;
  static constexpr int64_t kBlock = 128;
  static constexpr int64_t kSpare = 16;

  void flush() {
    const int64_t size = std::min(size_, kBlock);
    for (int64_t i = 0; i < size; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        lanes_[lane] += numerators_[i + lane] / denominators_[i + lane];
      }
    }
    size_ = 0;
  }

  int64_t size_ = 0;
  std::array<double, kLanes> lanes_{};
  std::array<double, kBlock + kSpare> numerators_;
  std::array<double, kBlock + kSpare> denominators_;
};

// Walks sorted keys from the largest down. What is wrong about the order of the pairs in a bucket
// is counted in halves: two for a negative above a positive, one for a tie.
class KeyScan {
 public:
  KeyScan(int64_t pos_above, int64_t neg_above)
      : pos_above_(pos_above), above_(pos_above + neg_above) {}

  template <class Key>
  void run(const Key* keys, int64_t count) {
    int64_t left = count;
#ifdef FM_AVX512
    if constexpr (sizeof(Key) == 4) {
      while (left > 16) {
        if (!untied(keys, left)) {
          left = group(keys, left);
        }
      }
    }
#endif
    groups(keys, left);
  }

  BucketAreas areas(int64_t count) {
    const uint64_t pos = static_cast<uint64_t>(pos_);
    const uint64_t pairs = pos * (static_cast<uint64_t>(count) - pos);
    return BucketAreas{2 * pairs - wrong_, precision_.total()};
  }

 private:
  // One tie group at the end of the first `left` keys.
  template <class Key>
  int64_t group(const Key* keys, int64_t left) {
    const Key last = keys[left - 1];
    const int64_t end = left;
    int64_t pos = 0;
    while (left > 0 && (keys[left - 1] ^ last) <= 1) {
      pos += static_cast<int64_t>(keys[--left] & 1);
    }
    const int64_t count = end - left;
    const int64_t neg_above = rank_ - pos_;
    wrong_ += static_cast<uint64_t>(pos) * static_cast<uint64_t>(2 * neg_above + count - pos);
    rank_ += count;
    pos_ += pos;
    precision_.push(static_cast<double>(pos) * static_cast<double>(pos_ + pos_above_),
                    static_cast<double>(rank_ + above_), pos != 0);
    return left;
  }

  // All tie groups of the first `left` keys, without a branch for each.
  template <class Key>
  void groups(const Key* keys, int64_t left) {
    if (left == 0) {
      return;
    }
    int64_t group_pos = pos_;    // positives above the current tie group
    int64_t group_rank = rank_;  // all that is above it
    uint64_t strictly_right = 0;
    uint64_t strictly_wrong = 0;
    const uint64_t pos_before = static_cast<uint64_t>(pos_);
    const uint64_t neg_before = static_cast<uint64_t>(rank_ - pos_);
    Key last = keys[left - 1];
    for (int64_t i = left - 1; i >= 0; --i) {
      const Key key = keys[i];
      const bool ends = (key ^ last) > 1;
      const int64_t is_pos = static_cast<int64_t>(key & 1);
      precision_.push(
          static_cast<double>(pos_ - group_pos) * static_cast<double>(pos_ + pos_above_),
          static_cast<double>(rank_ + above_), ends & (pos_ > group_pos));
      group_pos = ends ? pos_ : group_pos;
      group_rank = ends ? rank_ : group_rank;
      strictly_right += static_cast<uint64_t>(group_pos & (is_pos - 1));
      strictly_wrong += static_cast<uint64_t>((group_rank - group_pos) & -is_pos);
      pos_ += is_pos;
      ++rank_;
      last = key;
    }
    precision_.push(static_cast<double>(pos_ - group_pos) * static_cast<double>(pos_ + pos_above_),
                    static_cast<double>(rank_ + above_), pos_ > group_pos);
    // Pairs of a negative here with a positive here or above are right, wrong or tied.
    const uint64_t pos = static_cast<uint64_t>(pos_) - pos_before;
    const uint64_t neg = static_cast<uint64_t>(rank_ - pos_) - neg_before;
    const uint64_t tied =
        neg * (pos + pos_before) - strictly_right - (strictly_wrong - pos * neg_before);
    wrong_ += 2 * strictly_wrong + tied;
  }

#ifdef FM_AVX512
  // Takes the last sixteen of `left` keys if no two of them and the one below are equal.
  FM_INLINE bool untied(const uint32_t* keys, int64_t& left) {
    const __m512i own = _mm512_loadu_si512(keys + left - 16);
    const __m512i below = _mm512_loadu_si512(keys + left - 17);
    const __m512i one = _mm512_set1_epi32(1);
    if (_mm512_cmpgt_epu32_mask(_mm512_xor_si512(own, below), one) != 0xffff) {
      return false;
    }
    const __mmask16 labels = _mm512_test_epi32_mask(own, one);
    const int64_t count = std::popcount(static_cast<uint32_t>(labels));
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    // The lane of the largest key is the last; the order of the sum begins there.
    const __m512i places = _mm512_maskz_compress_epi32(labels, lanes);
    const __m512i turned = _mm512_permutexvar_epi32(
        _mm512_sub_epi32(_mm512_set1_epi32(static_cast<int>(count) - 1), lanes), places);
    const __m512i from_top = _mm512_sub_epi32(_mm512_set1_epi32(16), turned);
    const __m512d rank = _mm512_set1_pd(static_cast<double>(rank_ + above_));
    const __m512d pos = _mm512_set1_pd(static_cast<double>(pos_ + pos_above_));
    const __m512i number = _mm512_add_epi32(lanes, one);
    const auto doubles = [](__m512i v, int half) {
      return _mm512_cvtepi32_pd(half == 0 ? _mm512_castsi512_si256(v)
                                          : _mm512_extracti64x4_epi64(v, 1));
    };
    precision_.push(_mm512_add_pd(pos, doubles(number, 0)), _mm512_add_pd(pos, doubles(number, 1)),
                    _mm512_add_pd(rank, doubles(from_top, 0)),
                    _mm512_add_pd(rank, doubles(from_top, 1)), count);
    // Ranks of the positives, less the positives among what they count.
    const uint64_t ranks = static_cast<uint64_t>(
        _mm512_mask_reduce_add_epi32(labels, _mm512_sub_epi32(_mm512_set1_epi32(16), lanes)));
    const uint64_t positives = static_cast<uint64_t>(count);
    wrong_ += 2 * (ranks + positives * static_cast<uint64_t>(rank_ - pos_) -
                   positives * (positives + 1) / 2);
    pos_ += count;
    rank_ += 16;
    left -= 16;
    return true;
  }
#endif

  int64_t pos_above_;
  int64_t above_;
  int64_t pos_ = 0;
  int64_t rank_ = 0;
  uint64_t wrong_ = 0;
  RatioSum precision_;
};

// One bucket of sorted keys: areas of its pairs, and precisions given what lies above the bucket.
template <class Key>
BucketAreas scan_keys(const Key* keys, int64_t count, int64_t pos_above, int64_t neg_above) {
  KeyScan scan(pos_above, neg_above);
  scan.run(keys, count);
  return scan.areas(count);
}

// The same from counts: negatives and positives of each image in ascending order.
template <class Count>
BucketAreas scan_counts(const Count* counts, int64_t images, int64_t pos_above, int64_t neg_above) {
  RatioSum precision;
  const int64_t above = pos_above + neg_above;
  uint64_t right = 0;
  uint64_t wrong = 0;
  int64_t pos = 0;
  int64_t neg = 0;
  for (int64_t image = images - 1; image >= 0; --image) {
    const int64_t group_neg = static_cast<int64_t>(counts[2 * image]);
    const int64_t group_pos = static_cast<int64_t>(counts[2 * image + 1]);
    if ((group_neg | group_pos) == 0) {
      continue;
    }
    right += static_cast<uint64_t>(group_neg) * static_cast<uint64_t>(pos);
    wrong += static_cast<uint64_t>(group_pos) * static_cast<uint64_t>(neg);
    pos += group_pos;
    neg += group_neg;
    precision.push(static_cast<double>(group_pos) * static_cast<double>(pos + pos_above),
                   static_cast<double>(pos + neg + above), group_pos != 0);
  }
  const uint64_t pairs = static_cast<uint64_t>(pos) * static_cast<uint64_t>(neg);
  return BucketAreas{pairs + right - wrong, precision.total()};
}

// Makes keys relative to the smallest that the bucket could hold, and returns the bits that vary.
template <class Key>
Key rebase_keys(Key* keys, int64_t count, Key base) {
  const Key first = keys[0] - base;
  Key varying = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Key key = keys[i] - base;
    keys[i] = key;
    varying |= key ^ first;
  }
  return varying;
}

// Sorts keys up to their labels, in bits of which some vary; the result lies in one of both arrays.
template <class Key>
Key* sort_keys(Key* keys, Key* spare, int64_t count, Key varying) {
  varying &= ~Key{1};
  if (varying == 0) {
    return keys;
  }
  if (count <= kFewKeys) {
    insert_keys(keys, count, 1, count * count);
    return keys;
  }
  return sort_spread(keys, spare, count, std::countr_zero(varying), std::bit_width(varying));
}

template <class Key>
void count_keys(const Key* keys, int64_t count, uint32_t* counts) {
  for (int64_t i = 0; i < count; ++i) {
    ++counts[keys[i]];
  }
}

template <class T>
constexpr ScoreKernelsOf<T> kCurveScores{count_cells<T>, scatter_keys<T>};

template <class Key>
constexpr KeyKernelsOf<Key> kCurveKeys{rebase_keys<Key>, count_keys<Key>, sort_keys<Key>,
                                       scan_keys<Key>};

constexpr CountKernels kCurveCounts{scan_counts<uint32_t>, scan_counts<int64_t>};
