#include "reals.h"

#include <bit>

#include "simd.h"

#define FM_KERNELS "reals.inl"
#include "each_isa.h"

namespace fastmetrics {

LoadReals load_reals(ScalarType type) {
  const auto pick = [](auto number) { return FM_PICK(kLoadReals<decltype(number)>); };
  if (is_score_type(type)) {
    return with_score_type(type, pick);
  }
  return with_label_type(type, pick);
}

}  // namespace fastmetrics
