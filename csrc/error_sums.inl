// Sums of error terms over blocks of doubles, one function per term.

#include "numbers.inl"

FM_INLINE double to_double(uint8_t value) { return value; }
FM_INLINE double to_double(int8_t value) { return value; }
FM_INLINE double to_double(int16_t value) { return value; }
FM_INLINE double to_double(int32_t value) { return value; }
FM_INLINE double to_double(int64_t value) { return static_cast<double>(value); }
template <class T>
FM_INLINE double to_double(T value) {
  return to_value(value);
}

template <class T>
void load_reals(const void* data, int64_t offset, int64_t stride, int64_t count, double* out) {
  const T* first = static_cast<const T*>(data) + offset;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = to_double(first[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = to_double(first[i * stride]);
    }
  }
}

#if FM_VECTOR_BYTES >= 32 && defined(__x86_64__)
// The instruction set converts these itself.
template <>
void load_reals<Half>(const void* data, int64_t offset, int64_t stride, int64_t count,
                      double* out) {
  const Half* first = static_cast<const Half*>(data) + offset;
  int64_t i = 0;
  for (; stride == 1 && i + 8 <= count; i += 8) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + i));
    const __m256 values = _mm256_cvtph_ps(bits);
    _mm256_storeu_pd(out + i, _mm256_cvtps_pd(_mm256_castps256_ps128(values)));
    _mm256_storeu_pd(out + i + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1)));
  }
  for (; i < count; ++i) {
    out[i] = to_value(first[i * stride]);
  }
}
#endif

template <class T>
constexpr LoadReals kLoadReals = load_reals<T>;

typedef double Reals __attribute__((vector_size(FM_VECTOR_BYTES)));
typedef int64_t Words __attribute__((vector_size(FM_VECTOR_BYTES)));
constexpr int64_t kRealLanes = FM_VECTOR_BYTES / sizeof(double);
constexpr int64_t kUnroll = 4;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

FM_INLINE Reals load(const double* from) {
  Reals v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

FM_INLINE Reals load(const float* from) {
  typedef float Floats __attribute__((vector_size(FM_VECTOR_BYTES / 2)));
  Floats v;
  std::memcpy(&v, from, sizeof(v));
  return __builtin_convertvector(v, Reals);
}

FM_INLINE Reals all(double value) { return Reals{} + value; }
FM_INLINE Reals magnitude(Reals x) {
  return reinterpret_cast<Reals>(reinterpret_cast<Words>(x) & 0x7fffffffffffffff);
}
FM_INLINE Reals larger(Reals x, Reals y) { return x > y ? x : y; }

// Small enough to divide by, as torchmetrics and scikit-learn choose it.
constexpr double kEpsilon = 1.17e-06;

struct Squared {
  FM_INLINE static Reals at(Reals, Reals, Reals e, const ErrorParameters&) { return e * e; }
};

struct Absolute {
  FM_INLINE static Reals at(Reals, Reals, Reals e, const ErrorParameters&) { return magnitude(e); }
};

FM_INLINE Reals from_bits(Words bits) { return reinterpret_cast<Reals>(bits); }
FM_INLINE Words to_bits(Reals x) { return reinterpret_cast<Words>(x); }

// A polynomial with the coefficients of ascending powers.
template <int kCount>
FM_INLINE Reals polynomial(Reals x, const double (&coefficients)[kCount]) {
  Reals y = all(coefficients[kCount - 1]);
  for (int i = kCount - 2; i >= 0; --i) {
    y = y * x + coefficients[i];
  }
  return y;
}

// ln 2 in two parts, the first with zeros at its end so that multiples of it are exact.
constexpr double kLn2High = 0x1.62e42fefa38p-1;
constexpr double kLn2Low = 0x1.ef35793c7673p-45;
constexpr double kLn2 = kLn2High + kLn2Low;
// Adding it leaves the nearest integer in the low bits.
constexpr double kRounder = 0x1.8p52;

// log(x) to about one unit in the last place; x is positive and normal.
FM_INLINE Reals log_of_normal(Reals x) {
  // x = 2^k * m with m in [sqrt(1/2), sqrt(2)); the exponent is shifted to stay positive.
  constexpr uint64_t kRootOfHalf = 0x3fe6a09e667f3bcd;
  constexpr uint64_t kShift = uint64_t{1024} << 52;
  typedef uint64_t Unsigned __attribute__((vector_size(FM_VECTOR_BYTES)));
  // Unsigned, because infinity wraps around before the caller leaves it out.
  const Unsigned bits = reinterpret_cast<Unsigned>(to_bits(x));
  const Unsigned exponent = (bits - kRootOfHalf + kShift) >> 52;
  const Reals m = from_bits(reinterpret_cast<Words>(bits - (exponent << 52) + kShift));
  const Reals k =
      from_bits(reinterpret_cast<Words>(exponent | 0x4330000000000000)) - (0x1p52 + 1024.0);
  // log(m) = 2 atanh(s) = 2s (1 + s^2/3 + s^4/5 + ...), and s^2 < 0.0295.
  const Reals s = (m - 1.0) / (m + 1.0);
  const Reals z = s * s;
  constexpr double kOdd[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11,
                             2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21};
  return k * kLn2High + ((s + s) + (s * z * polynomial(z, kOdd) + k * kLn2Low));
}

// log(x) for any x that is not negative, or NaN.
FM_INLINE Reals log_of(Reals x) {
  const Words tiny = x < 0x1p-1022;
  const Reals normal = tiny ? x * 0x1p54 : x;
  const Reals y = log_of_normal(normal) - (tiny ? all(54 * kLn2) : all(0.0));
  const Reals finite = x > 0.0 ? y : all(-kInfinity);
  return x < kInfinity ? finite : x;
}

// log(1 + x) for x >= 0, or NaN.
FM_INLINE Reals log1p_of(Reals x) {
  const Reals u = x + 1.0;
  const Reals rest = (x - (u - 1.0)) / u;
  return u < kInfinity ? log_of_normal(u) + rest : u;
}

struct Power2 {
  Reals rest;   // exp(r) - 1
  Reals scale;  // 2^n, of which `scale * second` is the whole
  Reals second;
};

// exp(x) = 2^n exp(r) with |r| <= ln(2) / 2, for |x| < 1500. The power of two comes in two factors,
// each of which is a normal number.
FM_INLINE Power2 split_exp(Reals x) {
  const Reals n = (x * (1.0 / kLn2) + kRounder) - kRounder;
  const Reals r = (x - n * kLn2High) - n * kLn2Low;
  constexpr double kFactorials[] = {1.0,
                                    1.0 / 2,
                                    1.0 / 6,
                                    1.0 / 24,
                                    1.0 / 120,
                                    1.0 / 720,
                                    1.0 / 5040,
                                    1.0 / 40320,
                                    1.0 / 362880,
                                    1.0 / 3628800,
                                    1.0 / 39916800,
                                    1.0 / 479001600,
                                    1.0 / 6227020800};
  const Reals half = (n * 0.5 + kRounder) - kRounder;
  const auto power = [](Reals k) { return from_bits(to_bits(k + (kRounder + 1023.0)) << 52); };
  return Power2{r * polynomial(r, kFactorials), power(half), power(n - half)};
}

FM_INLINE Reals clamp(Reals x, double low, double high) {
  const Reals above = x < low ? all(low) : x;
  return above > high ? all(high) : above;
}

// exp(x) for any x.
FM_INLINE Reals exp_of(Reals x) {
  const Power2 e = split_exp(clamp(x, -1400.0, 1400.0));
  return (e.rest * e.scale + e.scale) * e.second;
}

// exp(x) - 1 for any x; infinite half a unit of the exponent before the result is. From 710 on both
// terms would be, and could have different signs.
FM_INLINE Reals expm1_of(Reals x) {
  const Power2 e = split_exp(clamp(x, -1400.0, 710.0));
  return e.rest * e.scale * e.second + (e.scale * e.second - 1.0);
}

FM_INLINE bool any(Words mask) {
  int64_t bits = 0;
  for (int64_t i = 0; i < kRealLanes; ++i) {
    bits |= mask[i];
  }
  return bits != 0;
}

// log(x / y) for x >= 0 and y > 0 with x - y = +-e, as accurate for x close to y as elsewhere; -inf
// for x = 0.
FM_INLINE Reals log_ratio(Reals x, Reals y, Reals e) {
  const Reals least = x < y ? x : y;
  const Reals size = log1p_of(magnitude(e) / least);
  return x < y ? -size : size;
}

struct SquaredLog {
  // The logarithm of the larger over the smaller of 1 + p and 1 + t, of which only the square
  // counts.
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters&) {
    const Reals least = (p < t ? p : t) + 1.0;
    const Reals size = log1p_of(magnitude(e) / magnitude(least));
    return least >= 0.0 ? size * size : all(kNotANumber);
  }
};

// |e| / 2, which stays in the range of double where e does not.
FM_INLINE Reals half_error(Reals p, Reals t, Reals e) {
  const Reals size = magnitude(e);
  return size < kInfinity ? size * 0.5 : magnitude(p * 0.5 - t * 0.5);
}

// Quotients are added without being worked out: a division takes as long as eight products.
struct Fraction {
  Reals over;
  Reals under;

  FM_INLINE Fraction operator+(const Fraction& other) const {
    return {over * other.under + other.over * under, under * other.under};
  }
};

struct Percentage {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters&) {
    return half_error(p, t, e) / larger(magnitude(t) * 0.5, all(kEpsilon * 0.5));
  }
  FM_INLINE static Fraction fraction(Reals p, Reals t) {
    return {magnitude(p - t), larger(magnitude(t), all(kEpsilon))};
  }
};

struct Symmetric {
  FM_INLINE static Fraction fraction(Reals p, Reals t) {
    return {magnitude(p - t), larger(magnitude(t) + magnitude(p), all(kEpsilon))};
  }
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters&) {
    const Reals size = magnitude(t) * 0.5 + magnitude(p) * 0.5;
    return half_error(p, t, e) / larger(size, all(kEpsilon * 0.5));
  }
};

struct Magnitude {
  FM_INLINE static Reals at(Reals, Reals t, Reals, const ErrorParameters&) { return magnitude(t); }
};

struct LogCosh {
  // For small errors log(1 + (cosh - 1)), else |e| - log(2) + log(1 + exp(-2|e|)).
  FM_INLINE static Reals at(Reals, Reals, Reals error, const ErrorParameters&) {
    const Reals e = magnitude(error);
    const Words small = e < 1.0;
    // (cosh(e) - 1) / e^2
    constexpr double kEven[] = {1.0 / 2,
                                1.0 / 24,
                                1.0 / 720,
                                1.0 / 40320,
                                1.0 / 3628800,
                                1.0 / 479001600,
                                1.0 / 87178291200,
                                1.0 / 20922789888000,
                                1.0 / 6402373705728000};
    const Reals square = e * e;
    const Reals rise = square * polynomial(square, kEven);
    const Reals value = log1p_of(small ? rise : exp_of(e * -2.0));
    return small ? value : value + (e - kLn2);
  }
};

struct Power {
  FM_INLINE static Reals at(Reals, Reals, Reals e, const ErrorParameters& parameters) {
    return exp_of(log_of(magnitude(e)) * parameters.p);
  }
};

struct Cubed {
  FM_INLINE static Reals at(Reals, Reals, Reals error, const ErrorParameters&) {
    const Reals e = magnitude(error);
    return e * e * e;
  }
};

// Exponents that are not finite.
struct LibraryPower {
  FM_INLINE static Reals at(Reals, Reals, Reals e, const ErrorParameters& parameters) {
    Reals value = magnitude(e);
    for (int64_t i = 0; i < kRealLanes; ++i) {
      value[i] = std::pow(value[i], parameters.p);
    }
    return value;
  }
};

struct Poisson {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters&) {
    const Reals loss = t * log_ratio(t, p, e) + e;
    return 2.0 * (t == 0.0 ? p : loss);
  }
};

struct Gamma {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters&) {
    const Reals rise = p < kInfinity ? -e / p : t / p - 1.0;
    return 2.0 * (rise - log_ratio(t, p, e));
  }
};

// 2 p^a ((r^a - 1) / (a b) - (r - 1) / b) with r = t / p, a = 2 - power, b = 1 - power. The powers
// cancel before they are taken, so that close predictions keep their digits.
struct Tweedie {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters& parameters) {
    const double a = 2.0 - parameters.power;
    const double b = 1.0 - parameters.power;
    const Reals positive = t > 0.0 ? t : (t == t ? all(0.0) : t);
    const Reals from_positive = t < 0.0 ? p : e;
    const Reals ratio = expm1_of(log_ratio(positive, p, from_positive) * a);
    const Reals value = exp_of(log_of(p) * a) * (ratio * (1.0 / a) + e / p) * (2.0 / b);
    return with_limits(value, p, t, parameters);
  }

  // What the way to the value cannot hold, as infinities, the plain formula decides.
  FM_INLINE static Reals with_limits(Reals value, Reals p, Reals t,
                                     const ErrorParameters& parameters) {
    const Words beyond = value != value;
    return any(beyond) ? (beyond ? limit(p, t, parameters) : value) : value;
  }

  [[gnu::noinline]] static Reals limit(Reals p, Reals t, const ErrorParameters& parameters) {
    const double a = 2.0 - parameters.power;
    const double b = 1.0 - parameters.power;
    const Reals positive = t > 0.0 ? t : (t == t ? all(0.0) : t);
    return 2.0 * (exp_of(log_of(positive) * a) / (a * b) - t * exp_of(log_of(p) * b) / b +
                  exp_of(log_of(p) * a) / a);
  }
};

FM_INLINE Reals root_of(Reals x) {
  for (int64_t i = 0; i < kRealLanes; ++i) {
    x[i] = std::sqrt(x[i]);
  }
  return x;
}

// Of power 1.5: 4 (sqrt(t) - sqrt(p))^2 / sqrt(p). A third of the time of the general way.
struct SquareRoots {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters& parameters) {
    const Reals root = root_of(p);
    const Reals apart = e / (root_of(t) + root);
    return Tweedie::with_limits(4.0 * apart * apart / root, p, t, parameters);
  }
};

// Of power 3: (t - p)^2 / (p^2 t). A fifth of the time of the general way.
struct InverseGaussian {
  FM_INLINE static Reals at(Reals p, Reals t, Reals e, const ErrorParameters& parameters) {
    const Reals apart = e / p;
    return Tweedie::with_limits(apart * (apart / t), p, t, parameters);
  }
};

// Whether a deviance cannot be taken: `preds` must be positive, and with a power above 1 `target`
// not negative, above 2 neither zero.
struct OutsideDomain {
  FM_INLINE static Reals at(Reals p, Reals t, Reals, const ErrorParameters& parameters) {
    Words outside = p <= 0.0;
    if (parameters.power >= 2.0) {
      outside |= t <= 0.0;
    } else if (parameters.power >= 1.0) {
      outside |= t < 0.0;
    }
    return outside ? all(1.0) : all(0.0);
  }
};

struct One {
  FM_INLINE static Reals at(Reals, Reals, Reals, const ErrorParameters&) { return all(1.0); }
};

template <class Term, bool kWeighted, bool kApart, class T>
FM_INLINE Reals term_at(const PairsOf<T>& pairs, int64_t i, const ErrorParameters& parameters) {
  const Reals p = load(pairs.preds + i);
  const Reals t = load(pairs.target + i);
  const Reals value = Term::at(p, t, kApart ? load(pairs.error + i) : p - t, parameters);
  if constexpr (kWeighted) {
    return value * load(pairs.weight + i);
  } else {
    return value;
  }
}

// The last elements of a block that fill no register: what follows them must not be read.
template <class Term, bool kWeighted, bool kApart, class T>
FM_INLINE void add_rest(const PairsOf<T>& pairs, int64_t first, const ErrorParameters& parameters,
                        double* sums) {
  double p[kRealLanes] = {};
  double t[kRealLanes] = {};
  double e[kRealLanes] = {};
  double w[kRealLanes] = {};
  double values[kRealLanes];
  const int64_t count = pairs.count - first;
  for (int64_t i = 0; i < count; ++i) {
    p[i] = pairs.preds[first + i];
    t[i] = pairs.target[first + i];
    e[i] = kApart ? pairs.error[first + i] : 0.0;
    w[i] = kWeighted ? pairs.weight[first + i] : 1.0;
  }
  const Pairs rest{p, t, e, w, count, pairs.sums_quotients};
  const Reals value = term_at<Term, kWeighted, kApart>(rest, 0, parameters);
  std::memcpy(values, &value, sizeof(value));
  for (int64_t i = 0; i < count; ++i) {
    sums[i] += values[i];
  }
}

// Adds the whole periods of a block, with one division each; returns how many pairs that were.
template <class Term, bool kWeighted, class T>
FM_INLINE int64_t add_fractions(const PairsOf<T>& pairs, double* sums) {
  const auto at = [&](int64_t i) __attribute__((always_inline)) {
    Fraction one = Term::fraction(load(pairs.preds + i), load(pairs.target + i));
    if constexpr (kWeighted) {
      one.over *= load(pairs.weight + i);
    }
    return one;
  };
  Reals total = load(sums);
  int64_t i = 0;
  for (; i + kUnroll * kRealLanes <= pairs.count; i += kUnroll * kRealLanes) {
    const Fraction four =
        (at(i) + at(i + kRealLanes)) + (at(i + 2 * kRealLanes) + at(i + 3 * kRealLanes));
    total += four.over / four.under;
  }
  std::memcpy(sums, &total, sizeof(total));
  return i;
}

template <class Term, bool kWeighted, bool kApart, class T>
FM_INLINE void add_all(const PairsOf<T>& pairs, const ErrorParameters& parameters, int64_t period,
                       double* sums) {
  int64_t i = 0;
  constexpr bool kDivides = std::is_same_v<Term, Percentage> || std::is_same_v<Term, Symmetric>;
  if (period == kUnroll * kRealLanes) {
    if constexpr (kDivides && !kApart) {
      i = pairs.sums_quotients ? add_fractions<Term, kWeighted>(pairs, sums) : 0;
    }
    Reals totals[kUnroll];
    std::memcpy(totals, sums, sizeof(totals));
    for (; i + period <= pairs.count; i += period) {
      for (int64_t k = 0; k < kUnroll; ++k) {
        totals[k] += term_at<Term, kWeighted, kApart>(pairs, i + k * kRealLanes, parameters);
      }
    }
    std::memcpy(sums, totals, sizeof(totals));
  }
  int64_t slot = 0;
  for (; i + kRealLanes <= pairs.count; i += kRealLanes) {
    const Reals total = load(sums + slot) + term_at<Term, kWeighted, kApart>(pairs, i, parameters);
    std::memcpy(sums + slot, &total, sizeof(total));
    slot += kRealLanes;
    slot = slot == period ? 0 : slot;
  }
  if (i < pairs.count) {
    add_rest<Term, kWeighted, kApart>(pairs, i, parameters, sums + slot);
  }
}

template <class Term>
void add_errors(const Pairs& pairs, const ErrorParameters& parameters, int64_t period,
                double* sums) {
  if (pairs.error != nullptr) {
    if (pairs.weight != nullptr) {
      add_all<Term, true, true>(pairs, parameters, period, sums);
    } else {
      add_all<Term, false, true>(pairs, parameters, period, sums);
    }
  } else if (pairs.weight != nullptr) {
    add_all<Term, true, false>(pairs, parameters, period, sums);
  } else {
    add_all<Term, false, false>(pairs, parameters, period, sums);
  }
}

template <class Term>
void add_floats(const PairsOf<float>& pairs, const ErrorParameters& parameters, int64_t period,
                double* sums) {
  add_all<Term, false, false>(pairs, parameters, period, sums);
}

// Terms that take longer than reading them have one way.
template <class Term>
constexpr AddErrors kSlow{add_errors<Term>};
template <class Term>
constexpr AddErrors kQuick{add_errors<Term>, add_floats<Term>};

inline bool exceed_exact(const double* preds, const double* target, int64_t count) {
  Reals largest[2] = {};
  int64_t i = 0;
  for (; i + kRealLanes <= count; i += kRealLanes) {
    largest[0] = larger(magnitude(load(preds + i)), largest[0]);
    largest[1] = larger(magnitude(load(target + i)), largest[1]);
  }
  bool beyond = any(larger(largest[0], largest[1]) >= 0x1p53);
  for (; i < count; ++i) {
    beyond |= std::abs(preds[i]) >= 0x1p53 || std::abs(target[i]) >= 0x1p53;
  }
  return beyond;
}

constexpr ErrorKernels kErrors{
    kUnroll * kRealLanes,
    kRealLanes,
    {kQuick<Squared>, kQuick<Absolute>, kSlow<SquaredLog>, kQuick<Percentage>, kQuick<Symmetric>,
     kQuick<Magnitude>, kSlow<LogCosh>, kSlow<Power>, kSlow<Tweedie>, kSlow<OutsideDomain>,
     kSlow<One>},
    kQuick<Cubed>,
    kSlow<LibraryPower>,
    kSlow<Poisson>,
    kSlow<SquareRoots>,
    kSlow<Gamma>,
    kSlow<InverseGaussian>,
    exceed_exact};
