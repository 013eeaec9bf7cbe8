// Ranks of the positive labels among all labels of a row.

#include "scores.inl"

// Scores as integers in the order of ranks: -0 equals +0, and NaN lies below every number.
FM_INLINE int32_t rank_key(float score) {
  const int32_t bits = std::bit_cast<int32_t>(score);
  const int32_t magnitude = bits & 0x7fffffff;
  const int32_t key = bits < 0 ? -magnitude : magnitude;
  return magnitude > 0x7f800000 ? kNanKey<int32_t> : key;
}
FM_INLINE int64_t rank_key(double score) {
  const int64_t bits = std::bit_cast<int64_t>(score);
  const int64_t magnitude = bits & std::numeric_limits<int64_t>::max();
  const int64_t key = bits < 0 ? -magnitude : magnitude;
  return magnitude > (int64_t{0x7ff} << 52) ? kNanKey<int64_t> : key;
}
template <class T>
FM_INLINE int32_t small_rank_key(T score) {
  const int32_t key = Score<T>::key(score);
  return Score<T>::nan(key) ? kNanKey<int32_t> : key;
}
FM_INLINE int32_t rank_key(Half score) { return small_rank_key(score); }
FM_INLINE int32_t rank_key(BFloat16 score) { return small_rank_key(score); }

template <class T>
void read_rank_keys(const void* scores, int64_t offset, int64_t stride, int64_t count,
                    RankKey<T>* keys) {
  const T* first = static_cast<const T*>(scores) + offset;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      keys[i] = rank_key(first[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      keys[i] = rank_key(first[i * stride]);
    }
  }
}

template <class T>
constexpr ReadRankKeys<RankKey<T>> kReadRankKeys = read_rank_keys<T>;

// Moves the keys of positive and of negative labels to lists of their own, which have room for
// kSplitPadding keys more.
template <class Key>
RowSplit split_by_label(const Key* keys, const int32_t* codes, int64_t count, Key* positives,
                        Key* negatives) {
  RowSplit split;
  for (int64_t i = 0; i < count; ++i) {
    positives[split.positives] = keys[i];
    negatives[split.negatives] = keys[i];
    split.positives += codes[i] == 1;
    split.negatives += codes[i] == 0;
    split.bad |= codes[i] == kBad;
    split.nan |= (codes[i] >= 0) & (keys[i] == kNanKey<Key>);
  }
  return split;
}

#if defined(FM_AVX512)
inline RowSplit split_by_label(const int32_t* keys, const int32_t* codes, int64_t count,
                               int32_t* positives, int32_t* negatives) {
  RowSplit split;
  __mmask16 bad = 0;
  __mmask16 nan = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 inside = static_cast<__mmask16>(count - i < 16 ? (1 << (count - i)) - 1 : -1);
    const __m512i key = _mm512_maskz_loadu_epi32(inside, keys + i);
    const __m512i code = _mm512_maskz_loadu_epi32(inside, codes + i);
    const __mmask16 positive = _mm512_mask_cmpeq_epi32_mask(inside, code, _mm512_set1_epi32(1));
    const __mmask16 negative = _mm512_mask_cmpeq_epi32_mask(inside, code, _mm512_setzero_si512());
    bad |= _mm512_mask_cmpeq_epi32_mask(inside, code, _mm512_set1_epi32(kBad));
    nan |=
        _mm512_mask_cmpeq_epi32_mask(positive | negative, key, _mm512_set1_epi32(kNanKey<int32_t>));
    _mm512_storeu_si512(positives + split.positives, _mm512_maskz_compress_epi32(positive, key));
    _mm512_storeu_si512(negatives + split.negatives, _mm512_maskz_compress_epi32(negative, key));
    split.positives += std::popcount(static_cast<uint32_t>(positive));
    split.negatives += std::popcount(static_cast<uint32_t>(negative));
  }
  split.bad = bad != 0;
  split.nan = nan != 0;
  return split;
}
#endif

template <class Key>
RowSplit split_labels(const Key* keys, const int32_t* codes, int64_t count, Key* positives,
                      Key* negatives) {
  return split_by_label(keys, codes, count, positives, negatives);
}

template <class Key>
FM_INLINE int64_t count_reaching(const Key* keys, int64_t count, Key bound) {
  Key reaching = 0;
  for (int64_t i = 0; i < count; ++i) {
    reaching += keys[i] >= bound;
  }
  return reaching;
}

template <class Key>
Key smallest(const Key* keys, int64_t count) {
  Key least = keys[0];
  for (int64_t i = 1; i < count; ++i) {
    least = keys[i] < least ? keys[i] : least;
  }
  return least;
}

// Labels that reach the lowest positive one.
template <class Key>
int64_t coverage(const Key* positives, const Key* negatives, const RowSplit& split) {
  const Key lowest = smallest(positives, split.positives);
  return split.positives + count_reaching(negatives, split.negatives, lowest);
}

// Compares each positive label with all others.
template <class Key>
RowRanks compare_labels(const Key* positives, const Key* negatives, const RowSplit& split) {
  RowRanks ranks;
  for (int64_t i = 0; i < split.positives; ++i) {
    const int64_t own = count_reaching(positives, split.positives, positives[i]);
    const int64_t others = count_reaching(negatives, split.negatives, positives[i]);
    ranks.add(1, own, others);
  }
  return ranks;
}

template <class Key>
constexpr RankKernels<Key> kRanks{split_labels<Key>, coverage<Key>, compare_labels<Key>};
