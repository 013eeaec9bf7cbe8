// What error_sums.cpp and its kernels agree on.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "simd.h"
#include "stable.h"

namespace fastmetrics {

// Bits of the `terms` argument; fastmetrics/ops/error_sums.py documents them.
enum ErrorTerm : int64_t {
  kSquared = 0,
  kAbsolute,
  kSquaredLog,
  kPercentage,
  kSymmetric,
  kMagnitude,
  kLogCosh,
  kPower,
  kDeviance,
  kErrorTerms,
};

// Columns beyond the terms of the mask: what a deviance cannot be taken of, and the weights.
inline constexpr int64_t kOutsideDomain = kErrorTerms;
inline constexpr int64_t kWeight = kErrorTerms + 1;
inline constexpr int64_t kErrorColumns = kErrorTerms + 2;

struct ErrorParameters {
  double p;
  double power;
};

// Elements that are converted to double at a time.
inline constexpr int64_t kErrorBlock = 512;

// out[i] = data[offset + i * stride]
using LoadReals = void (*)(const void* data, int64_t offset, int64_t stride, int64_t count,
                           double* out);
// A block of pairs.
template <class T>
struct PairsOf {
  const T* preds;
  const T* target;
  const double* error;   // preds - target; null where that is the difference of the doubles
  const double* weight;  // null for ones
  int64_t count;
  bool sums_quotients;  // of one column, and in range of double if a few are multiplied
};
using Pairs = PairsOf<double>;

// sums[i % period] += weight[i] * term of pair i. `period` is a multiple of `lanes`, or `count`
// does not exceed it.
template <class T>
using AddTerm = void (*)(const PairsOf<T>& pairs, const ErrorParameters& parameters, int64_t period,
                         double* sums);

// A term of doubles, and perhaps of floats that lie in a row and have no weights: those are
// converted in the registers.
struct AddErrors {
  AddTerm<double> wide = nullptr;
  AddTerm<float> narrow = nullptr;

  explicit operator bool() const { return wide != nullptr; }
};

struct ErrorKernels {
  // Accumulators that hide the delay of an addition when there is one column.
  int64_t period;
  // Doubles per register.
  int64_t lanes;
  AddErrors add[kErrorColumns];
  // Powers and deviances that have a shorter way.
  AddErrors cubed;
  AddErrors any_power;
  AddErrors poisson;
  AddErrors square_roots;
  AddErrors gamma;
  AddErrors inverse_gaussian;
  // Whether whole numbers among these may have been rounded when they became doubles.
  bool (*exceed_exact)(const double* preds, const double* target, int64_t count);
};

}  // namespace fastmetrics
