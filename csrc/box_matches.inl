// Masks as bits, for one instruction set.
inline int64_t shared_bits(const uint64_t* first, const uint64_t* second, int64_t words) {
  int64_t total = 0;
  for (int64_t i = 0; i < words; ++i) {
    total += std::popcount(first[i] & second[i]);
  }
  return total;
}

// Bit i of the words says whether pixel i is set; those behind the last pixel are clear.
inline void pack_bits(const uint8_t* pixels, int64_t count, uint64_t* words) {
  for (int64_t start = 0; start < count; start += 64) {
    const int64_t here = std::min<int64_t>(64, count - start);
    uint64_t word = 0;
    for (int64_t i = 0; i + 8 <= here; i += 8) {
      uint64_t eight;
      std::memcpy(&eight, pixels + start + i, 8);
      // The lowest bit of a byte says whether any of its bits is set.
      eight |= eight >> 4 & 0x0f0f0f0f0f0f0f0f;
      eight |= eight >> 2 & 0x0303030303030303;
      eight |= eight >> 1;
      eight &= 0x0101010101010101;
      word |= (eight * 0x0102040810204080) >> 56 << i;
    }
    for (int64_t i = here / 8 * 8; i < here; ++i) {
      word |= static_cast<uint64_t>(pixels[start + i] != 0) << i;
    }
    words[start / 64] = word;
  }
}

inline constexpr SharedBits kSharedBits = shared_bits;
inline constexpr void (*kPackBits)(const uint8_t*, int64_t, uint64_t*) = pack_bits;
