#include "fold.inl"

// One register of double, with logarithm and exponential to about two units in the last place.
struct Rows {
  static constexpr int kCount = FM_VECTOR_BYTES / 8;
  typedef double Values __attribute__((vector_size(FM_VECTOR_BYTES)));
  typedef uint64_t Bits __attribute__((vector_size(FM_VECTOR_BYTES)));

  FM_INLINE static Values all(double value) { return Values{} + value; }

  // The first `count` numbers, at most a register full; `pad` stands for the others.
  FM_INLINE static Values load(const double* data, int64_t count, double pad) {
    Values v = all(pad);
    if (count >= kCount) {
      std::memcpy(&v, data, sizeof(v));
    } else {
      std::memcpy(&v, data, count * sizeof(double));
    }
    return v;
  }

  FM_INLINE static Values load(const float* data) {
#if defined(FM_AVX512)
    return (Values)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(data));
#elif FM_VECTOR_BYTES == 32
    return (Values)_mm256_cvtps_pd(_mm_loadu_ps(data));
#else
    return Values{data[0], data[1]};
#endif
  }

  // a * b + c; contracted where the instruction set can.
  FM_INLINE static Values multiply_add(Values a, Values b, Values c) {
#if defined(FM_AVX512)
    return (Values)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif FM_VECTOR_BYTES == 32
    return (Values)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
  }

  FM_INLINE static Values root(Values x) {
    for (int lane = 0; lane < kCount; ++lane) {
      x[lane] = std::sqrt(x[lane]);
    }
    return x;
  }

  FM_INLINE static double sum(const Values& v) {
    return fold_lanes<double, FM_VECTOR_BYTES>(&v, PickSum{});
  }

  FM_INLINE static Values log(Values x) {
    constexpr uint64_t kHalfRoot = 0x3fe6a09e667f3bcd;  // the bits of sqrt(1/2)
    constexpr uint64_t kOne = 0x3ff0000000000000;
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const auto tiny = x < 0x1p-1022;
    const Bits bits = (Bits)(tiny ? x * 0x1p54 : x);
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
    const Bits shifted = bits - kHalfRoot + kOne;
    const Values m = (Values)((shifted & 0xfffffffffffff) + kHalfRoot);
    Values e = (Values)((shifted >> 52) | 0x4330000000000000) - (0x1p52 + 1023.0);
    e -= tiny ? all(54.0) : all(0.0);
    const Values s = (m - 1.0) / (m + 1.0);
    const Values z = s * s;
    Values series = all(2.0 / 21);
    series = series * z + 2.0 / 19;
    series = series * z + 2.0 / 17;
    series = series * z + 2.0 / 15;
    series = series * z + 2.0 / 13;
    series = series * z + 2.0 / 11;
    series = series * z + 2.0 / 9;
    series = series * z + 2.0 / 7;
    series = series * z + 2.0 / 5;
    series = series * z + 2.0 / 3;
    // ln 2 in two parts, the first of which is exact times any exponent.
    Values result =
        e * 0x1.62e42fee00000p-1 + ((s + s) + (s * z * series + e * 1.90821492927058770002e-10));
    result = x == kInfinity ? x : result;
    result = x == 0.0 ? all(-kInfinity) : result;
    return x >= 0.0 ? result : all(std::numeric_limits<double>::quiet_NaN());
  }

  // Results below 2^-1021 are 0.
  FM_INLINE static Values exp(Values x) {
    constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer, in the lowest bits
    const Values t = x * 0x1.71547652b82fep0 + kRound;
    const Values n = t - kRound;
    const Values r = (x - n * 0x1.62e42fee00000p-1) - n * 1.90821492927058770002e-10;
    Values power = all(1.0 / 6227020800.0);
    power = power * r + 1.0 / 479001600.0;
    power = power * r + 1.0 / 39916800.0;
    power = power * r + 1.0 / 3628800.0;
    power = power * r + 1.0 / 362880.0;
    power = power * r + 1.0 / 40320.0;
    power = power * r + 1.0 / 5040.0;
    power = power * r + 1.0 / 720.0;
    power = power * r + 1.0 / 120.0;
    power = power * r + 1.0 / 24.0;
    power = power * r + 1.0 / 6.0;
    power = power * r + 0.5;
    power = power * r + 1.0;
    power = power * r + 1.0;
    Values result = power * (Values)(((Bits)t << 52) + 0x3ff0000000000000);
    result = x < -708.0 ? all(0.0) : result;
    result = x > 709.0 ? all(std::numeric_limits<double>::infinity()) : result;
    return x == x ? result : x;
  }

  // x * log(y), 0 where x is.
  FM_INLINE static Values x_log_y(Values x, Values y) { return x == 0.0 ? all(0.0) : x * log(y); }
};

// What stands for numbers that are not there: it adds nothing.
template <RowKind kind>
constexpr double kPad =
    kind == RowKind::kKlLog || kind == RowKind::kJsLog ? -std::numeric_limits<double>::infinity()
                                                       : 0.0;

// Three sums: the terms of a divergence in the first, or the products of a cosine.
struct RowSums {
  Rows::Values first = {};
  Rows::Values second = {};
  Rows::Values third = {};

  // Adds what numbers of the rows contribute; the scales make the sums of probabilities 1.
  template <RowKind kind>
  FM_INLINE void add(const Rows::Values& p, const Rows::Values& q, const Rows::Values& preds_scale,
                     const Rows::Values& target_scale) {
    using R = Rows;
    if constexpr (kind == RowKind::kCosine) {
      first = R::multiply_add(p, q, first);
      second = R::multiply_add(p, p, second);
      third = R::multiply_add(q, q, third);
    } else if constexpr (kind == RowKind::kKlLog) {
      const R::Values term = R::exp(p) * (p - q);
      first += p == kPad<kind> ? R::all(0.0) : term;
    } else {
      R::Values a;
      R::Values b;
      if constexpr (kind == RowKind::kJsLog) {
        a = R::exp(p);
        b = R::exp(q);
      } else {
        a = p * preds_scale;
        b = q * target_scale;
      }
      if constexpr (kind == RowKind::kKl) {
        first += R::x_log_y(a, a / b);
      } else {
        const R::Values middle = (a + b) * 0.5;
        first += R::x_log_y(a, a / middle) + R::x_log_y(b, b / middle);
      }
    }
  }

  // `value_of_row` of a row in each lane.
  template <RowKind kind>
  FM_INLINE Rows::Values value() const {
    using R = Rows;
    if constexpr (kind == RowKind::kCosine) {
      const auto sound = (second > kLeastSquares) & (second < kMostSquares) &
                         (third > kLeastSquares) & (third < kMostSquares);
      const R::Values cosine = first / (R::root(second) * R::root(third));
      return sound ? cosine : R::all(std::numeric_limits<double>::quiet_NaN());
    }
    return kind == RowKind::kJs || kind == RowKind::kJsLog ? 0.5 * first : first;
  }
};

// Adds to `totals` what `count` columns of a row contribute; see RowKernels.
template <RowKind kind>
void add_columns(const double* preds, const double* target, int64_t count, const RowScale& scale,
                 RowTotals& totals) {
  using R = Rows;
  const R::Values preds_scale = R::all(scale.preds);
  const R::Values target_scale = R::all(scale.target);
  RowSums sums;
  for (int64_t i = 0; i < count; i += R::kCount) {
    sums.add<kind>(R::load(preds + i, count - i, kPad<kind>),
                   R::load(target + i, count - i, kPad<kind>), preds_scale, target_scale);
  }
  totals.first += R::sum(sums.first);
  totals.second += R::sum(sums.second);
  totals.third += R::sum(sums.third);
}

// The sums of a cosine for rows of float, which are read where they lie: through a buffer of
// doubles [10000, 100] took 1.4 ms, and takes 0.6.
inline void add_floats(const float* preds, const float* target, int64_t count, RowTotals& totals) {
  using R = Rows;
  constexpr RowKind kind = RowKind::kCosine;
  constexpr int kChains = 2;  // hide the delay of an addition
  const R::Values none = {};
  RowSums sums[kChains];
  int64_t i = 0;
  for (; i + kChains * R::kCount <= count; i += kChains * R::kCount) {
    for (int chain = 0; chain < kChains; ++chain) {
      const int64_t at = i + chain * R::kCount;
      sums[chain].add<kind>(R::load(preds + at), R::load(target + at), none, none);
    }
  }
  if (i < count) {
    double p[kChains * R::kCount] = {};
    double q[kChains * R::kCount] = {};
    std::copy(preds + i, preds + count, p);
    std::copy(target + i, target + count, q);
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain].add<kind>(R::load(p + chain * R::kCount, R::kCount, 0.0),
                            R::load(q + chain * R::kCount, R::kCount, 0.0), none, none);
    }
  }
  totals.first += R::sum(sums[0].first + sums[1].first);
  totals.second += R::sum(sums[0].second + sums[1].second);
  totals.third += R::sum(sums[0].third + sums[1].third);
}

// The values of `rows` rows whose numbers lie column by column: a lane for each row.
template <RowKind kind>
void compare_narrow(const double* preds, const double* target, int64_t rows, int64_t columns,
                    double* values) {
  using R = Rows;
  constexpr bool kNormalises = kind == RowKind::kKl || kind == RowKind::kJs;
  for (int64_t row = 0; row < rows; row += R::kCount) {
    const int64_t count = rows - row;
    const auto load = [&](const double* data, int64_t column) {
      return R::load(data + column * rows + row, count, 0.0);
    };
    R::Values preds_sum = {};
    R::Values target_sum = {};
    for (int64_t column = 0; kNormalises && column < columns; ++column) {
      preds_sum += load(preds, column);
      target_sum += load(target, column);
    }
    const R::Values preds_scale = 1.0 / preds_sum;
    const R::Values target_scale = 1.0 / target_sum;
    RowSums sums;
    for (int64_t column = 0; column < columns; ++column) {
      sums.add<kind>(load(preds, column), load(target, column), preds_scale, target_scale);
    }
    const R::Values value = sums.value<kind>();
    std::memcpy(values + row, &value, std::min<int64_t>(count, R::kCount) * sizeof(double));
  }
}

// Adds the sums of both rows to `second` and `third`.
inline void add_sums(const double* preds, const double* target, int64_t count, RowTotals& totals) {
  using R = Rows;
  typename R::Values p = {};
  typename R::Values q = {};
  for (int64_t i = 0; i < count; i += R::kCount) {
    p += R::load(preds + i, count - i, 0.0);
    q += R::load(target + i, count - i, 0.0);
  }
  totals.second += R::sum(p);
  totals.third += R::sum(q);
}

template <RowKind kind>
constexpr RowKernels kRows = {add_sums, add_columns<kind>, add_floats, compare_narrow<kind>};
