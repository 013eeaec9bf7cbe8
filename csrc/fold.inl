// Vectors folded to one number. Included by the kernels.

// Folds a vector to one lane, halving it each time.
template <class Key, int kBytes, class Pick>
FM_INLINE Key fold_lanes(const void* lanes, Pick pick) {
  if constexpr (kBytes == sizeof(Key)) {
    Key value;
    std::memcpy(&value, lanes, sizeof(Key));
    return value;
  } else {
    typedef Key Half_ __attribute__((vector_size(kBytes / 2)));
    Half_ low;
    Half_ high;
    std::memcpy(&low, lanes, kBytes / 2);
    std::memcpy(&high, static_cast<const char*>(lanes) + kBytes / 2, kBytes / 2);
    const Half_ picked = pick(low, high);
    return fold_lanes<Key, kBytes / 2>(&picked, pick);
  }
}

struct PickLarger {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a > b ? a : b;
  }
};
struct PickSmaller {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a < b ? a : b;
  }
};
struct PickSum {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a + b;
  }
};
struct PickAny {
  template <class V>
  FM_INLINE V operator()(const V& a, const V& b) const {
    return a | b;
  }
};
