// Images of numbers, and counting passes that sort keys made from them.

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
  const int most = count < (1 << 16) ? 8 : kMaxDigit;
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
