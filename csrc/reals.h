// Real numbers of any dtype, read as double.
#pragma once

#include "stable.h"

namespace fastmetrics {

// Writes `count` numbers that start at `offset` and lie `stride` apart (in elements).
using LoadReals = void (*)(const void* data, int64_t offset, int64_t stride, int64_t count,
                           double* numbers);

// For floats, integers and booleans; throws for other dtypes.
LoadReals load_reals(ScalarType type);

}  // namespace fastmetrics
