// Images of scores, and the sorting and scanning of keys and counts made from them.

// The image of a score is an unsigned integer that orders like it: -0 equals +0, and every NaN has
// image 0, below that of -infinity.
template <class T>
FM_INLINE ImageOf<T> image_of(T score) {
  using Image = ImageOf<T>;
  constexpr Image kSign = static_cast<Image>(Image{1} << (8 * sizeof(T) - 1));
  const Image bits = std::bit_cast<Image>(score);
  const Image magnitude = bits & static_cast<Image>(kSign - 1);
  const Image image =
      static_cast<Image>((bits & kSign) != 0 ? kSign - magnitude : kSign + magnitude);
  return magnitude > kInfinityOf<T> ? Image{0} : image;
}

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
void count_cells(const T* scores, const uint8_t* labels, int64_t count, int shift,
                 uint32_t nowhere, uint32_t* counts) {
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
  for (int64_t i = 0; i < count; ++i) {
    *ends[bucket_of[bins[i]]]++ = keys[i];
  }
}

// Sums ratios in eight lanes, the same whatever the width of the registers.
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

  void flush() {
    for (int64_t i = 0; i < size_; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        lanes_[lane] += numerators_[i + lane] / denominators_[i + lane];
      }
    }
    size_ = 0;
  }

  int64_t size_ = 0;
  std::array<double, kLanes> lanes_{};
  std::array<double, kBlock> numerators_;
  std::array<double, kBlock> denominators_;
};

// One bucket of sorted keys: areas of its pairs, and precisions given what lies above the bucket.
template <class Key>
BucketAreas scan_keys(const Key* keys, int64_t count, int64_t pos_above, int64_t neg_above) {
  RatioSum precision;
  const int64_t above = pos_above + neg_above;
  uint64_t right = 0;
  uint64_t wrong = 0;
  int64_t pos = 0;
  int64_t group_pos = 0;   // positives above the current tie group
  int64_t group_rank = 0;  // all that is above it
  Key last = keys[count - 1];
  for (int64_t rank = 0; rank < count; ++rank) {
    const Key key = keys[count - 1 - rank];
    const bool ends = (key ^ last) > 1;
    const int64_t is_pos = static_cast<int64_t>(key & 1);
    precision.push(static_cast<double>(pos - group_pos) * static_cast<double>(pos + pos_above),
                   static_cast<double>(rank + above), ends & (pos > group_pos));
    group_pos = ends ? pos : group_pos;
    group_rank = ends ? rank : group_rank;
    right += static_cast<uint64_t>(group_pos & (is_pos - 1));
    wrong += static_cast<uint64_t>((group_rank - group_pos) & -is_pos);
    pos += is_pos;
    last = key;
  }
  precision.push(static_cast<double>(pos - group_pos) * static_cast<double>(pos + pos_above),
                 static_cast<double>(count + above), pos > group_pos);
  const uint64_t pairs = static_cast<uint64_t>(pos) * static_cast<uint64_t>(count - pos);
  return BucketAreas{pairs + right - wrong, precision.total()};
}

// The same from counts: negatives and positives of each image in ascending order.
template <class Count>
BucketAreas scan_counts(const Count* counts, int64_t images, int64_t pos_above,
                        int64_t neg_above) {
  RatioSum precision;
  const int64_t above = pos_above + neg_above;
  uint64_t right = 0;
  uint64_t wrong = 0;
  int64_t pos = 0;
  int64_t neg = 0;
  for (int64_t image = images - 1; image >= 0; --image) {
    const int64_t group_neg = static_cast<int64_t>(counts[2 * image]);
    const int64_t group_pos = static_cast<int64_t>(counts[2 * image + 1]);
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

// Inserts each key among those before it; gives up after `budget` moves.
template <class Key>
bool insert_keys(Key* keys, int64_t count, int64_t budget) {
  for (int64_t i = 1; i < count; ++i) {
    const Key key = keys[i];
    int64_t place = i;
    for (; place > 0 && keys[place - 1] > key; --place) {
      keys[place] = keys[place - 1];
    }
    keys[place] = key;
    budget -= i - place;
    if (budget < 0) {
      return false;
    }
  }
  return true;
}

// Stable counting passes over the bits [low, low + kPasses * width); the sorted keys lie in the
// returned one of the two arrays.
template <class Key, int kPasses>
Key* radix_passes(Key* keys, Key* spare, int64_t count, int low, int width) {
  uint32_t offsets[kPasses << kMaxDigit];
  const uint32_t mask = (1u << width) - 1;
  std::memset(offsets, 0, sizeof(uint32_t) * (static_cast<size_t>(kPasses) << width));
  for (int64_t i = 0; i < count; ++i) {
    const Key key = keys[i] >> low;
    for (int pass = 0; pass < kPasses; ++pass) {
      ++offsets[(static_cast<uint32_t>(pass) << width) +
                (static_cast<uint32_t>(key >> (pass * width)) & mask)];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    uint32_t* const own = offsets + (static_cast<size_t>(pass) << width);
    uint32_t sum = 0;
    for (uint32_t digit = 0; digit <= mask; ++digit) {
      const uint32_t here = own[digit];
      own[digit] = sum;
      sum += here;
    }
    const int shift = low + pass * width;
    for (int64_t i = 0; i < count; ++i) {
      const Key key = keys[i];
      spare[own[static_cast<uint32_t>(key >> shift) & mask]++] = key;
    }
    std::swap(keys, spare);
  }
  return keys;
}

template <class Key>
Key* radix_sort(Key* keys, Key* spare, int64_t count, int low, int high) {
  const int most = count < 2048 ? 8 : count < 65536 ? 9 : kMaxDigit;
  Key* sorted = keys;
  while (low < high) {
    const int passes = std::min((high - low + most - 1) / most, 3);
    const int width = std::min((high - low + passes - 1) / passes, most);
    Key* const other = sorted == keys ? spare : keys;
    sorted = passes == 1   ? radix_passes<Key, 1>(sorted, other, count, low, width)
             : passes == 2 ? radix_passes<Key, 2>(sorted, other, count, low, width)
                           : radix_passes<Key, 3>(sorted, other, count, low, width);
    low += passes * width;
  }
  return sorted;
}

// Sorts keys up to their labels, in bits of which some vary; the result lies in one of both arrays.
template <class Key>
Key* sort_keys(Key* keys, Key* spare, int64_t count, Key varying) {
  varying &= ~Key{1};
  if (varying == 0) {
    return keys;
  }
  if (count <= kFewKeys) {
    insert_keys(keys, count, count * count);
    return keys;
  }
  const int high = std::bit_width(varying);
  const int low = std::countr_zero(varying);
  // Of long keys the leading bits tell nearly all apart, and insertion does the rest.
  const int telling = std::bit_width(static_cast<uint64_t>(count)) + 8;
  if (high - low > telling + 8) {
    Key* const sorted = radix_sort(keys, spare, count, high - telling, high);
    if (insert_keys(sorted, count, 4 * count)) {
      return sorted;
    }
    return radix_sort(sorted, sorted == keys ? spare : keys, count, low, high);
  }
  return radix_sort(keys, spare, count, low, high);
}

template <class Key, class Count>
void count_keys(const Key* keys, int64_t count, Count* counts) {
  for (int64_t i = 0; i < count; ++i) {
    ++counts[keys[i]];
  }
}

template <class T>
constexpr ScoreKernelsOf<T> kCurveScores{count_cells<T>, scatter_keys<T>};

template <class Key>
constexpr KeyKernelsOf<Key> kCurveKeys{rebase_keys<Key>, sort_keys<Key>, scan_keys<Key>};

constexpr CountKernels kCurveCounts{count_keys<uint32_t, uint32_t>, scan_counts<uint32_t>,
                                    scan_counts<int64_t>};
