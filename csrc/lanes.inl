// Vectors of keys, as wide as the registers of the instruction set. Included by the kernels.

#include "scores.inl"

template <class T>
struct Lanes {
  using Key = typename Score<T>::Key;
  static constexpr int kCount = FM_VECTOR_BYTES / sizeof(Key);
  typedef Key Vector __attribute__((vector_size(FM_VECTOR_BYTES)));
  using Index = std::conditional_t<sizeof(Key) == 8, int64_t, int32_t>;
  typedef Index Indices __attribute__((vector_size(FM_VECTOR_BYTES)));

  FM_INLINE static Vector load(const T* data) {
    if constexpr (std::is_same_v<T, Key>) {
      Vector v;
      std::memcpy(&v, data, sizeof(v));
      return v;
    } else {
      typedef int16_t Bits __attribute__((vector_size(2 * kCount)));
      Bits bits;
      std::memcpy(&bits, data, sizeof(bits));
      return Score<T>::from_bits(__builtin_convertvector(bits, Vector));
    }
  }
};
