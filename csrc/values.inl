// Scores as numbers: loading them, their place among ascending edges, exponentials. Included by the
// kernels.

#include "numbers.inl"
#include "scores.inl"

template <class T>
void load_scores(const void* scores, int64_t offset, int64_t stride, int64_t count,
                 ValueOf<T>* values) {
  const T* first = static_cast<const T*>(scores) + offset;
  if (stride == 1) {
    int64_t i = 0;
#if FM_VECTOR_BYTES >= 32
    if constexpr (std::is_same_v<T, Half>) {
      for (; i + 8 <= count; i += 8) {  // bit by bit it takes twice the time of all else
        _mm256_storeu_ps(values + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(first + i))));
      }
    }
#endif
    for (; i < count; ++i) {
      values[i] = to_value(first[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = to_value(first[i * stride]);
    }
  }
}

template <class T>
constexpr LoadScores<ValueOf<T>> kLoadScores = load_scores<T>;

// As many bins as numbers fit into a register.
template <class V>
struct BinVector;
template <>
struct BinVector<float> {
  typedef int32_t Type __attribute__((vector_size(FM_VECTOR_BYTES)));
};
template <>
struct BinVector<double> {
  typedef int32_t Type __attribute__((vector_size(FM_VECTOR_BYTES / 2)));
};

// Numbers of one register.
template <class V>
struct Vectors {
  using Integer = std::conditional_t<sizeof(V) == 8, int64_t, int32_t>;
  static constexpr int kCount = FM_VECTOR_BYTES / sizeof(V);
  typedef V Values __attribute__((vector_size(FM_VECTOR_BYTES)));
  typedef Integer Masks __attribute__((vector_size(FM_VECTOR_BYTES)));
  using Bins = typename BinVector<V>::Type;

  FM_INLINE static Values load(const V* data) {
    Values v;
    std::memcpy(&v, data, sizeof(v));
    return v;
  }
  // Compilers build a gather from single loads: 1e6 scores take 0.7 ms that way, 0.2 ms this way.
  FM_INLINE static Values gather(const V* data, const Bins& at) {
#if defined(FM_AVX512)
    if constexpr (sizeof(V) == 4) {
      return (Values)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)at, data, 4);
    } else {
      return (Values)_mm512_mask_i32gather_pd(_mm512_setzero_pd(), 0xff, (__m256i)at, data, 8);
    }
#else
    Values v;
    for (int lane = 0; lane < kCount; ++lane) {
      v[lane] = data[at[lane]];
    }
    return v;
#endif
  }
};

// Adds `step` to bins[i] where values[i] reaches edges[bins[i]].
template <class V>
FM_INLINE void advance_bins(const V* values, const V* edges, int32_t step, int64_t count,
                            int32_t* bins) {
  using L = Vectors<V>;
  int64_t i = 0;
  for (; i + L::kCount <= count; i += L::kCount) {
    typename L::Bins bin;
    std::memcpy(&bin, bins + i, sizeof(bin));
    const typename L::Masks reached = L::load(values + i) >= L::gather(edges, bin);
    bin += __builtin_convertvector(reached, typename L::Bins) & step;
    std::memcpy(bins + i, &bin, sizeof(bin));
  }
  for (; i < count; ++i) {
    bins[i] += values[i] >= edges[bins[i]] ? step : 0;
  }
}

// The threshold nearest to `position` on a scale where threshold k lies at about k.
FM_INLINE int32_t nearest(float position, float last) {
  position = position > 0.0f ? position : 0.0f;  // NaN as well
  position = position < last ? position : last;
  return static_cast<int32_t>(position + 0.5f);
}

typedef double Doubles __attribute__((vector_size(FM_VECTOR_BYTES)));
typedef int64_t Longs __attribute__((vector_size(FM_VECTOR_BYTES)));
constexpr int kDoubles = FM_VECTOR_BYTES / 8;

// How many numbers V fill the lanes of one vector of doubles.
template <class V>
struct NarrowVector {
  typedef V Type __attribute__((vector_size(kDoubles * sizeof(V))));
};

FM_INLINE Doubles load_doubles(const double* data) {
  Doubles v;
  std::memcpy(&v, data, sizeof(v));
  return v;
}

// a * b + c; contracted where the instruction set can.
FM_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
#if defined(FM_AVX512)
  return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif FM_VECTOR_BYTES == 32
  return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

// As many numbers as fill a register of doubles.
template <class V>
FM_INLINE Doubles load_widened(const V* data) {
#if FM_VECTOR_BYTES == 32
  if constexpr (std::is_same_v<V, float>) {
    return (Doubles)_mm256_cvtps_pd(_mm_loadu_ps(data));  // GCC converts half of it at a time
  }
#endif
  typename NarrowVector<V>::Type v;
  std::memcpy(&v, data, sizeof(v));
  return __builtin_convertvector(v, Doubles);
}

// Horner's scheme from the highest coefficient on.
template <size_t kCount>
FM_INLINE Doubles polynomial(Doubles x, const double (&coefficients)[kCount]) {
  Doubles value = Doubles{} + coefficients[0];
#pragma GCC unroll 16
  for (size_t i = 1; i < kCount; ++i) {
    value = multiply_add(value, x, Doubles{} + coefficients[i]);
  }
  return value;
}

// exp(x) for x <= 0 to the last digit or two; 0 below the normal range.
#if defined(FM_AVX512)
FM_INLINE Doubles exp_below_one(Doubles x) {
  // x = n ln(2) / 8 + r; the powers of 2^(1/8) lie in a register.
  const double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const Doubles kEighths = {1.0,
                            1.0905077326652577,
                            1.1892071150027210,
                            1.2968395546510096,
                            1.4142135623730951,
                            1.5422108254079407,
                            1.6817928305074292,
                            1.8340080864093424};
  const Doubles shifted = multiply_add(x, Doubles{} + 1.4426950408889634 * 8.0, Doubles{} + kRound);
  const Doubles n = shifted - kRound;
  Doubles r = multiply_add(n, Doubles{} - 0.693147180369123816490 / 8.0, x);
  r = multiply_add(n, Doubles{} - 1.90821492927058770002e-10 / 8.0, r);
  Doubles power =
      polynomial(r, {1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0});
  power *= (Doubles)_mm512_maskz_permutexvar_pd(0xff, (__m512i)shifted, (__m512d)kEighths);
  const __mmask8 remains =
      _mm512_cmp_pd_mask((__m512d)x, (__m512d)(Doubles{} - 708.0), _CMP_NLT_UQ);
  return (Doubles)_mm512_maskz_scalef_pd(remains, (__m512d)power, (__m512d)(n * 0.125));
}
// Several at a time.
template <int kCount>
FM_INLINE void exp_below_one(Doubles (&x)[kCount]) {
#pragma GCC unroll 4
  for (Doubles& one : x) {
    one = exp_below_one(one);
  }
}
#else
// Several at a time, in step: one alone waits for each of its products, and every constant is
// loaded once for all. A score of a row takes 2.9 ns with four, 4.2 ns alone (AVX2, one thread).
template <int kCount>
FM_INLINE void exp_below_one(Doubles (&x)[kCount]) {
  const double kRound = 6755399441055744.0;
  constexpr double kFactorials[] = {1.0 / 479001600.0,
                                    1.0 / 39916800.0,
                                    1.0 / 3628800.0,
                                    1.0 / 362880.0,
                                    1.0 / 40320.0,
                                    1.0 / 5040.0,
                                    1.0 / 720.0,
                                    1.0 / 120.0,
                                    1.0 / 24.0,
                                    1.0 / 6.0,
                                    0.5,
                                    1.0,
                                    1.0};
  Doubles shifted[kCount];
  Doubles r[kCount];
  Doubles power[kCount];
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) {
    const Doubles bounded = x[k] < -708.0 ? Doubles{} - 708.0 : x[k];
    shifted[k] = multiply_add(bounded, Doubles{} + 1.4426950408889634, Doubles{} + kRound);
    const Doubles n = shifted[k] - kRound;
    r[k] = multiply_add(n, Doubles{} - 0.693147180369123816490, bounded);
    r[k] = multiply_add(n, Doubles{} - 1.90821492927058770002e-10, r[k]);
    power[k] = Doubles{} + kFactorials[0];
  }
  for (size_t i = 1; i < std::size(kFactorials); ++i) {
    const Doubles next = Doubles{} + kFactorials[i];
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) {
      power[k] = multiply_add(power[k], r[k], next);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) {
    Longs bits;
    std::memcpy(&bits, &shifted[k], sizeof(bits));
    bits = (bits - std::bit_cast<int64_t>(kRound) + 1023) << 52;
    Doubles scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    x[k] = x[k] < -708.0 ? Doubles{} : power[k] * scale;
  }
}
FM_INLINE Doubles exp_below_one(Doubles x) {
  Doubles one[1] = {x};
  exp_below_one(one);
  return one[0];
}
#endif
