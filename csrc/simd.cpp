#include "simd.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace fastmetrics {
namespace {

SimdLevel machine_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2) {
    return avx512 ? SimdLevel::kAvx512 : SimdLevel::kAvx2;
  }
#endif
  return SimdLevel::kDefault;
}

SimdLevel requested_level() {
  const char* wish = std::getenv("FASTMETRICS_SIMD");
  for (const SimdLevel level : {SimdLevel::kDefault, SimdLevel::kAvx2}) {
    if (wish != nullptr && std::string_view(wish) == simd_name(level)) {
      return level;
    }
  }
  return SimdLevel::kAvx512;
}

}  // namespace

SimdLevel simd_level() {
  static const SimdLevel level = std::min(machine_level(), requested_level());
  return level;
}

const char* simd_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx2:
      return "avx2";
    default:
      return "default";
  }
}

}  // namespace fastmetrics
