// Run-time choice of the vector instruction set, made once when the module is loaded.
#pragma once

namespace fastmetrics {

enum class SimdLevel { kDefault = 0, kAvx2 = 1, kAvx512 = 2 };

// The best level of this machine, or the lower one that FASTMETRICS_SIMD (default, avx2, avx512)
// asks for.
SimdLevel simd_level();
const char* simd_name(SimdLevel level);

}  // namespace fastmetrics

// FM_MULTIVERSION(ret, name, (params), (args)) defines `ret name params`, which forwards to
// `name_impl args` compiled once per instruction set. `name_impl` must be FM_INLINE so that each
// version inlines it.
#define FM_INLINE [[gnu::always_inline]] inline

#if defined(__x86_64__)
#define FM_MULTIVERSION(ret, name, params, args)                                             \
  [[gnu::target(                                                                             \
      "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi,bmi2,prefer-vector-width=512")]] \
  static ret name##_avx512 params {                                                          \
    return name##_impl args;                                                                 \
  }                                                                                          \
  [[gnu::target("avx2,fma,f16c,bmi,bmi2")]] static ret name##_avx2 params {                  \
    return name##_impl args;                                                                 \
  }                                                                                          \
  static ret name##_default params { return name##_impl args; }                              \
  static const auto name##_chosen = simd_level() == SimdLevel::kAvx512 ? &name##_avx512      \
                                    : simd_level() == SimdLevel::kAvx2 ? &name##_avx2        \
                                                                       : &name##_default;    \
  static ret name params { return name##_chosen args; }
#else
#define FM_MULTIVERSION(ret, name, params, args) \
  static ret name params { return name##_impl args; }
#endif
