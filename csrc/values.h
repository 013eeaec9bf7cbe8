// Scores as numbers: what the loads of values.inl give.
#pragma once

#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "stable.h"

namespace fastmetrics {

// Scores are compared as double if they are double, else as float.
template <class T>
using ValueOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class V>
using LoadScores = void (*)(const void* scores, int64_t offset, int64_t stride, int64_t count,
                            V* values);

}  // namespace fastmetrics
