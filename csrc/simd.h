// Run-time choice of the vector instruction set, made once when the module is loaded.
//
// Kernels live in .inl files that each_isa.h compiles once per instruction set, each in a namespace
// of its own; FM_PICK takes the object of that name from the namespace that fits the machine.
#pragma once

namespace fastmetrics {

enum class SimdLevel { kDefault = 0, kAvx2 = 1, kAvx512 = 2 };

// The best level of this machine, or the lower one that FASTMETRICS_SIMD (default, avx2, avx512)
// asks for.
SimdLevel simd_level();
const char* simd_name(SimdLevel level);

}  // namespace fastmetrics

#define FM_INLINE [[gnu::always_inline]] inline

#if defined(__x86_64__)
#define FM_PICK(object)                                \
  (simd_level() == SimdLevel::kAvx512 ? avx512::object \
   : simd_level() == SimdLevel::kAvx2 ? avx2::object   \
                                      : baseline::object)
#else
#define FM_PICK(object) (baseline::object)
#endif
