// Includes FM_KERNELS (a quoted .inl path) once per instruction set, inside namespace fastmetrics.
// FM_VECTOR_BYTES is the width of its registers; FM_AVX512 allows its intrinsics. No include guard:
// each source file that has kernels includes this once, after all other headers.
namespace fastmetrics {

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                             \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi,bmi2"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi,bmi2,prefer-vector-width=512")
#endif
namespace avx512 {
#define FM_VECTOR_BYTES 64
#define FM_AVX512
#include FM_KERNELS
#undef FM_AVX512
#undef FM_VECTOR_BYTES
}  // namespace avx512
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#endif
namespace avx2 {
#define FM_VECTOR_BYTES 32
#include FM_KERNELS
#undef FM_VECTOR_BYTES
}  // namespace avx2
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

namespace baseline {
#define FM_VECTOR_BYTES 16
#include FM_KERNELS
#undef FM_VECTOR_BYTES
}  // namespace baseline

}  // namespace fastmetrics
