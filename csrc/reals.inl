template <class T>
FM_INLINE double to_real(T number) {
  return static_cast<double>(number);
}
FM_INLINE double to_real(BFloat16 number) {
  return std::bit_cast<float>(static_cast<uint32_t>(number.bits) << 16);
}
FM_INLINE double to_real(Half number) {
  const uint32_t exponent = number.bits & 0x7c00;
  const uint32_t magnitude = (number.bits & 0x7fffu) << 13;
  const uint32_t rebased = magnitude + (exponent == 0x7c00 ? 0x70000000u : 0x38000000u);
  const float tiny = static_cast<float>(static_cast<int32_t>(number.bits & 0x3ff)) * 0x1p-24f;
  const uint32_t bits = exponent == 0 ? std::bit_cast<uint32_t>(tiny) : rebased;
  return std::bit_cast<float>(bits | (number.bits & 0x8000u) << 16);
}

template <class T>
void load_real_type(const void* data, int64_t offset, int64_t stride, int64_t count,
                    double* numbers) {
  const T* first = static_cast<const T*>(data) + offset;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      numbers[i] = to_real(first[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      numbers[i] = to_real(first[i * stride]);
    }
  }
}

template <class T>
constexpr LoadReals kLoadReals = load_real_type<T>;
