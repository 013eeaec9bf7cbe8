// Scores as numbers: 16-bit floats become float, the others stay. Included by the kernels.
FM_INLINE float to_value(float score) { return score; }
FM_INLINE double to_value(double score) { return score; }
FM_INLINE float to_value(BFloat16 score) {
  return std::bit_cast<float>(static_cast<uint32_t>(score.bits) << 16);
}
FM_INLINE float to_value(Half score) {
  const uint32_t exponent = score.bits & 0x7c00;
  const uint32_t magnitude = (score.bits & 0x7fffu) << 13;
  const uint32_t rebased = magnitude + (exponent == 0x7c00 ? 0x70000000u : 0x38000000u);
  const float tiny = static_cast<float>(static_cast<int32_t>(score.bits & 0x3ff)) * 0x1p-24f;
  const uint32_t bits = exponent == 0 ? std::bit_cast<uint32_t>(tiny) : rebased;
  return std::bit_cast<float>(bits | (score.bits & 0x8000u) << 16);
}
