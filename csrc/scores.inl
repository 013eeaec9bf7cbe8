// Scores as comparable keys: float and double compare as they are, 16-bit floats through integers.
// Included by scores.h and, once per instruction set, by the kernels.

// Score<T>::Key orders like T, with -0 equal to +0; `nan` works on a key or on a vector of keys.
template <class T>
struct Score;

template <class T>
struct NativeScore {
  using Key = T;
  FM_INLINE static Key key(T value) { return value; }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return key != key;
  }
  static double value(T score) { return score; }
};
template <>
struct Score<float> : NativeScore<float> {};
template <>
struct Score<double> : NativeScore<double> {};

// Sign and magnitude become a two's complement integer; what lies beyond +-infinity is NaN.
template <class T, int32_t kInfinityBits>
struct SmallScore {
  static constexpr int32_t kInfinity = kInfinityBits;
  using Key = int32_t;
  template <class K>
  FM_INLINE static K from_bits(K bits) {  // sign-extended 16-bit patterns
    const K magnitude = bits & 0x7fff;
    return bits < 0 ? -magnitude : magnitude;
  }
  FM_INLINE static Key key(T value) { return from_bits<Key>(static_cast<int16_t>(value.bits)); }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return (key > kInfinity) | (key < -kInfinity);
  }
};
template <>
struct Score<Half> : SmallScore<Half, 0x7c00> {
  static double value(Half score) {
    const int exponent = (score.bits >> 10) & 0x1f;
    const double fraction = score.bits & 0x3ff;
    double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                       : exponent == 31 ? (fraction == 0 ? std::numeric_limits<double>::infinity()
                                                         : std::numeric_limits<double>::quiet_NaN())
                                        : std::ldexp(fraction + 1024.0, exponent - 25);
    return score.bits & 0x8000 ? -magnitude : magnitude;
  }
};
template <>
struct Score<BFloat16> : SmallScore<BFloat16, 0x7f80> {
  static double value(BFloat16 score) {
    return std::bit_cast<float>(static_cast<uint32_t>(score.bits) << 16);
  }
};

// Labels 0 and 1 thresholded like scores: positive above 0, never NaN.
template <>
struct Score<int32_t> {
  using Key = int32_t;
  FM_INLINE static Key key(int32_t value) { return value; }
  template <class K>
  FM_INLINE static auto nan(K key) {
    return key < key;
  }
};
