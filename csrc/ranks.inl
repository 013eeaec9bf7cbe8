// Sorting, ranking and comparing pairs.
#include "sorting.inl"

// Writes images that order like the numbers; -0 equals +0. Says whether any number was NaN.
template <class T>
bool read_images(const T* numbers, int64_t stride, int64_t count, RankImage<T>* images) {
  bool nan = false;
  for (int64_t i = 0; i < count; ++i) {
    const T number = numbers[i * stride];
    if constexpr (std::is_integral_v<T>) {
      using Bits = std::make_unsigned_t<T>;
      constexpr Bits kSign =
          std::is_signed_v<T> ? static_cast<Bits>(Bits{1} << (8 * sizeof(T) - 1)) : Bits{0};
      images[i] = static_cast<Bits>(static_cast<Bits>(number) ^ kSign);
    } else {
      const auto image = image_of(number);
      nan |= image == 0;
      images[i] = image;
    }
  }
  return nan;
}

inline void pack_pairs(const uint32_t* keys, const uint32_t* others, int64_t count, Pair* pairs) {
  for (int64_t i = 0; i < count; ++i) {
    pairs[i] = Pair{keys[i]} << 32 | others[i];
  }
}

inline KeyRange range_of(const Pair* pairs, int64_t count) {
  Pair least = pairs[0];
  Pair most = pairs[0];
  for (int64_t i = 1; i < count; ++i) {
    least = std::min(least, pairs[i]);
    most = std::max(most, pairs[i]);
  }
  return KeyRange{key_of(least), key_of(most)};
}

inline void count_bins(const Pair* pairs, int64_t count, uint32_t least, int shift,
                       uint32_t* counts) {
  for (int64_t i = 0; i < count; ++i) {
    ++counts[(key_of(pairs[i]) - least) >> shift];
  }
}

// Puts each pair where its bucket grows.
inline void scatter_pairs(const Pair* pairs, int64_t count, uint32_t least, int shift,
                          const uint16_t* bucket_of, Pair** ends) {
  scatter(pairs, count, [&](int64_t i) -> Pair*& {
    return ends[bucket_of[(key_of(pairs[i]) - least) >> shift]];
  });
}

// Sorts by key, pairs of one key as they stood or by what goes with them; the result lies in one of
// both arrays.
inline Pair* sort_pairs(Pair* pairs, Pair* spare, int64_t count) {
  if (count <= kFewPairs) {
    insert_keys(pairs, count, 0, count * count);
    return pairs;
  }
  const Pair base = Pair{range_of(pairs, count).least} << 32;
  Pair varying = 0;
  for (int64_t i = 0; i < count; ++i) {
    pairs[i] -= base;
    varying |= pairs[i];
  }
  varying >>= 32;
  if (varying == 0) {
    return pairs;
  }
  return sort_spread(pairs, spare, count, 32 + std::countr_zero(varying), 32 + width_of(varying));
}

// The end of the pairs whose key is that of the first one.
inline int64_t end_of_ties(const Pair* sorted, int64_t first, int64_t count) {
  const uint32_t key = key_of(sorted[first]);
  int64_t end = first + 1;
  while (end < count && key_of(sorted[end]) == key) {
    ++end;
  }
  return end;
}

// Turns sorted pairs, the first of them at place `begin` of all, around: what goes with a key
// becomes the key, and twice its rank goes with it.
inline Ties turn_pairs(const Pair* sorted, int64_t count, int64_t begin, Pair* turned) {
  Ties ties;
  for (int64_t first = 0; first < count;) {
    const int64_t end = end_of_ties(sorted, first, count);
    const Pair twice_rank = static_cast<Pair>(2 * begin + first + end + 1);
    for (int64_t i = first; i < end; ++i) {
      turned[i] = sorted[i] << 32 | twice_rank;
    }
    ties.add(end - first);
    first = end;
  }
  return ties;
}

// Sums the products of both ranks, each doubled and less `total` + 1, twice the mean.
inline Products sum_products(const Pair* sorted, int64_t count, int64_t begin, int64_t total) {
  Products found;
  for (int64_t first = 0; first < count;) {
    const int64_t end = end_of_ties(sorted, first, count);
    int64_t sum = 0;
    for (int64_t i = first; i < end; ++i) {
      sum += static_cast<int64_t>(other_of(sorted[i])) - (total + 1);
    }
    found.sum += Int128{sum} * (2 * begin + first + end - total);
    found.ties.add(end - first);
    first = end;
  }
  return found;
}

// Writes what goes with each key. Pairs of one key must be sorted by that.
inline Orders list_others(const Pair* sorted, int64_t count, uint32_t* others) {
  Orders found;
  for (int64_t first = 0; first < count;) {
    const int64_t end = end_of_ties(sorted, first, count);
    int64_t same = 0;
    for (int64_t i = first; i < end; ++i) {
      others[i] = other_of(sorted[i]);
      same = i > first && sorted[i] == sorted[i - 1] ? same + 1 : 0;
      found.tied_in_both += same;
    }
    found.ties.add(end - first);
    first = end;
  }
  return found;
}

// Moves numbers without the bit to the front and those with it behind them, and counts how often
// one without stood behind one with it. Returns how many are without.
inline int64_t split_bit(uint32_t* numbers, uint32_t* spare, int64_t count, int bit,
                         uint64_t& inversions) {
  int64_t without = 0;
  int64_t with = 0;
  uint64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t number = numbers[i];
    const int64_t is_set = number >> bit & 1;
    numbers[without] = number;
    spare[with] = number;
    found += static_cast<uint64_t>(with & (is_set - 1));
    with += is_set;
    without += 1 - is_set;
  }
  std::memcpy(numbers + without, spare, static_cast<size_t>(with) * sizeof(uint32_t));
  inversions += found;
  return without;
}

// Counts pairs of places whose numbers are in descending order; the bits above `bit` are equal.
inline uint64_t count_inversions(uint32_t* numbers, uint32_t* spare, int64_t count, int bit) {
  uint64_t inversions = 0;
  while (count > kFewNumbers && bit >= 0) {
    const int64_t without = split_bit(numbers, spare, count, bit, inversions);
    --bit;
    inversions += count_inversions(numbers, spare, without, bit);
    numbers += without;
    spare += without;
    count -= without;
  }
  if (bit >= 0) {
    for (int64_t i = 1; i < count; ++i) {
      uint32_t greater = 0;
      for (int64_t j = 0; j < i; ++j) {
        greater += numbers[j] > numbers[i];
      }
      inversions += greater;
    }
  }
  return inversions;
}

template <class T>
constexpr ReadImages<T> kReadImages = read_images<T>;

constexpr OrderingKernels kPairs{pack_pairs, range_of,        count_bins,   scatter_pairs,
                                 sort_pairs, turn_pairs,      sum_products, list_others,
                                 split_bit,  count_inversions};
