#include "argmax.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "scores.h"

#define FM_KERNELS "argmax.inl"
#include "each_isa.h"

namespace fastmetrics {

const ArgmaxKernels& argmax_kernels(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return FM_PICK(kArgmax<float>);
    case ScalarType::Double:
      return FM_PICK(kArgmax<double>);
    case ScalarType::Half:
      return FM_PICK(kArgmax<Half>);
    case ScalarType::BFloat16:
      return FM_PICK(kArgmax<BFloat16>);
    default:
      unsupported_dtype("`preds`");
  }
}

}  // namespace fastmetrics
