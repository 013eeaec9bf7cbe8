// The powers of rows of scores, relative to the largest; in float where the scores are no doubles.

#include "values.inl"

constexpr int kPowersAtOnce = 4;  // registers worked out in step
// Scores of a block: its second reading comes from the first cache.
constexpr int64_t kPowerBlock = 2048;

template <class V>
using PowerRegisters = typename Vectors<V>::Values[kPowersAtOnce];

typedef float Floats __attribute__((vector_size(FM_VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(FM_VECTOR_BYTES)));

FM_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(FM_AVX512)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif FM_VECTOR_BYTES == 32
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// The larger of two registers; `a` where a number of them is NaN. Compilers make two steps of it.
FM_INLINE Floats larger(Floats a, Floats b) {
#if defined(FM_AVX512)
  return (Floats)_mm512_maskz_max_ps(0xffff, (__m512)b, (__m512)a);
#elif FM_VECTOR_BYTES == 32
  return (Floats)_mm256_max_ps((__m256)b, (__m256)a);
#else
  return b > a ? b : a;
#endif
}
FM_INLINE Doubles larger(Doubles a, Doubles b) {
#if defined(FM_AVX512)
  return (Doubles)_mm512_maskz_max_pd(0xff, (__m512d)b, (__m512d)a);
#elif FM_VECTOR_BYTES == 32
  return (Doubles)_mm256_max_pd((__m256d)b, (__m256d)a);
#else
  return b > a ? b : a;
#endif
}

// Where `a` or `b` is NaN.
FM_INLINE Ints either_nan(Floats a, Floats b) {
#if defined(FM_AVX512)
  return (Ints)_mm512_movm_epi32(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q));
#elif FM_VECTOR_BYTES == 32
  return (Ints)_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_UNORD_Q);
#else
  return (a != a) | (b != b);
#endif
}
FM_INLINE Longs either_nan(Doubles a, Doubles b) {
#if defined(FM_AVX512)
  return (Longs)_mm512_movm_epi64(_mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_UNORD_Q));
#elif FM_VECTOR_BYTES == 32
  return (Longs)_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_UNORD_Q);
#else
  return (a != a) | (b != b);
#endif
}

// exp(x) for x <= 0. Those of floats err by up to 1e-7 of it, and what lies below -86 gives no more
// than 5e-38: with doubles a row took three times as long.
FM_INLINE void powers_of(PowerRegisters<double>& x) { exp_below_one(x); }
FM_INLINE void powers_of(PowerRegisters<float>& x) {
  const float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float kPerLog = 1.44269504f;
  // 2^f = 1 + f q(f) for |f| <= 1/2, with the smallest relative error.
  constexpr float kSeries[] = {0.000153533329f,
                               0.00133988808f,
                               0.00961843785f,
                               0.0555033237f,
                               0.240226477f,
                               0.693147182f,
                               1.0f};
  Floats shifted[kPowersAtOnce];
  Floats f[kPowersAtOnce];
  Floats power[kPowersAtOnce];
#pragma GCC unroll 4
  for (int k = 0; k < kPowersAtOnce; ++k) {
    const Floats bounded = larger(Floats{} - 86.0f, x[k]);
    shifted[k] = multiply_add(bounded, Floats{} + kPerLog, Floats{} + kRound);
    f[k] = multiply_add(bounded, Floats{} + kPerLog, kRound - shifted[k]);
    power[k] = Floats{} + kSeries[0];
  }
#pragma GCC unroll 8
  for (size_t i = 1; i < std::size(kSeries); ++i) {
    const Floats next = Floats{} + kSeries[i];
#pragma GCC unroll 4
    for (int k = 0; k < kPowersAtOnce; ++k) {
      power[k] = multiply_add(power[k], f[k], next);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kPowersAtOnce; ++k) {
    x[k] = (Floats)((Ints)power[k] + ((Ints)shifted[k] << 23));
  }
}

// As many scores as `x` holds, in some order. Those of 16 bits are widened here, each time that
// they are read: through a buffer of floats a row took a quarter longer.
template <class V>
FM_INLINE void load_registers(const V* scores, PowerRegisters<V>& x) {
#pragma GCC unroll 4
  for (int k = 0; k < kPowersAtOnce; ++k) {
    x[k] = Vectors<V>::load(scores + k * Vectors<V>::kCount);
  }
}
// A float is a BFloat16 and 16 zeros behind it.
FM_INLINE void load_registers(const BFloat16* scores, PowerRegisters<float>& x) {
#pragma GCC unroll 2
  for (int k = 0; k < kPowersAtOnce; k += 2) {
    Ints pairs;
    std::memcpy(&pairs, scores + k * Vectors<float>::kCount, sizeof(pairs));
    x[k] = (Floats)(pairs << 16);
    x[k + 1] = (Floats)(pairs & ~0xffff);
  }
}
#if FM_VECTOR_BYTES >= 32
FM_INLINE void load_registers(const Half* scores, PowerRegisters<float>& x) {
#pragma GCC unroll 4
  for (int k = 0; k < kPowersAtOnce; ++k) {
    const Half* from = scores + k * Vectors<float>::kCount;
#if defined(FM_AVX512)
    x[k] = (Floats)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)from));
#else
    x[k] = (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#endif
  }
}
#endif
template <class T>
constexpr bool kLoadsRegisters = FM_VECTOR_BYTES >= 32 || !std::is_same_v<T, Half>;

// What a block of scores says before any power: its largest, and whether one is NaN.
template <class V>
struct BlockTop {
  V top;
  bool nan;
};

template <class T, class V = ValueOf<T>>
FM_INLINE BlockTop<V> top_of_block(const T* scores, int64_t count) {
  using L = Vectors<V>;
  constexpr V kLowest = -std::numeric_limits<V>::infinity();
  PowerRegisters<V> tops;
  typename L::Masks nans = {};
  for (auto& top : tops) {
    top = typename L::Values{} + kLowest;
  }
  for (int64_t i = 0; i < count; i += kPowersAtOnce * L::kCount) {
    PowerRegisters<V> values;
    load_registers(scores + i, values);
#pragma GCC unroll 2
    for (int k = 0; k < kPowersAtOnce; k += 2) {
      tops[k] = larger(tops[k], values[k]);
      tops[k + 1] = larger(tops[k + 1], values[k + 1]);
      nans |= either_nan(values[k], values[k + 1]);
    }
  }
  BlockTop<V> found{kLowest, false};
  const typename L::Values largest = larger(larger(tops[0], tops[1]), larger(tops[2], tops[3]));
  for (int lane = 0; lane < L::kCount; ++lane) {
    found.top = largest[lane] > found.top ? largest[lane] : found.top;
    found.nan |= nans[lane] != 0;
  }
  return found;
}

// Asks for the memory of `count` scores that come next, so that it arrives meanwhile.
template <class T>
FM_INLINE void fetch(const T* next, int64_t count) {
  constexpr int64_t kLine = 64;
#pragma GCC unroll 4
  for (int64_t i = 0; i < count; i += kLine / static_cast<int64_t>(sizeof(T))) {
    __builtin_prefetch(next + i);
  }
}

// Adds the powers of a block to `row`, whose top is finite and not below any of them. `kTies`:
// some of the scores may be the top itself.
template <bool kTies, class S, class T>
FM_INLINE void add_powers(const S* scores, int64_t count, const T* next, RowPowers& row) {
  using V = ValueOf<S>;
  using L = Vectors<V>;
  const typename L::Values top = typename L::Values{} + static_cast<V>(row.top);
  typename L::Values sums = {};
  typename L::Masks ties = {};
  for (int64_t i = 0; i < count; i += kPowersAtOnce * L::kCount) {
    fetch(next + i, kPowersAtOnce * L::kCount);
    PowerRegisters<V> powers;
    typename L::Masks below[kPowersAtOnce];
    load_registers(scores + i, powers);
#pragma GCC unroll 4
    for (int k = 0; k < kPowersAtOnce; ++k) {
      powers[k] -= top;
      if constexpr (kTies) {
        below[k] = powers[k] < V{0};
      }
    }
    powers_of(powers);
#pragma GCC unroll 4
    for (int k = 0; k < kPowersAtOnce; ++k) {
      if constexpr (kTies) {
        powers[k] = (typename L::Values)((typename L::Masks)powers[k] & below[k]);
        ties -= ~below[k];  // of bits, so that this adds 1
      }
    }
    sums += (powers[0] + powers[1]) + (powers[2] + powers[3]);
  }
  for (int lane = 0; lane < L::kCount; ++lane) {
    row.below += static_cast<double>(sums[lane]);
    row.ties += ties[lane];
  }
}

// Adds a block of scores, a multiple of kPowersAtOnce registers of them; what only fills it up is
// -infinity, of which `padding` there are. `next` lies behind the block, where it comes from.
template <class S, class T>
FM_INLINE void fold_block(const S* scores, int64_t count, int64_t padding, const T* next,
                          RowPowers& row) {
  const BlockTop<ValueOf<S>> found = top_of_block(scores, count);
  const double top = found.top;
  row.nan |= found.nan;
  if (top > row.top) {
    if (row.ties > 0) {  // not the first block
      row.below = (row.below + static_cast<double>(row.ties)) * std::exp(row.top - top);
    }
    row.top = top;
    row.ties = 0;
  }
  if (std::abs(row.top) == std::numeric_limits<double>::infinity()) {
    row.ties += std::count_if(scores, scores + count - padding,
                              [&](S score) { return to_value(score) == row.top; });
  } else if (top == row.top) {
    add_powers<true>(scores, count, next, row);
  } else {
    add_powers<false>(scores, count, next, row);
  }
}

// Rows side by side, a class after the other: as many scores of each as fit into a buffer.
template <class T>
void fold_planes(const T* scores, const RowLayout& layout, int64_t count, RowPowers* rows) {
  using V = ValueOf<T>;
  constexpr int64_t kClasses = 256;
  constexpr int64_t kStep = kPowersAtOnce * Vectors<V>::kCount;
  V block[kRowsAtOnce * kClasses];
  for (int64_t first = 0; first < layout.width; first += kClasses) {
    const int64_t classes = std::min(kClasses, layout.width - first);
    const int64_t length = (classes + kStep - 1) / kStep * kStep;
    for (int64_t c = 0; c < classes; ++c) {
      const T* from = scores + (first + c) * layout.step;
      for (int64_t i = 0; i < count; ++i) {
        block[i * kClasses + c] = to_value(from[i * layout.pitch]);
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      V* row = block + i * kClasses;
      std::fill(row + classes, row + length, -std::numeric_limits<V>::infinity());
      fold_block(row, length, length - classes, row, rows[i]);
    }
  }
}

template <class T>
void fold_rows(const void* scores, int64_t offset, const RowLayout& layout, const int32_t* codes,
               int64_t count, RowPowers* rows) {
  using V = ValueOf<T>;
  const T* first = static_cast<const T*>(scores) + offset;
  if (layout.step != 1) {
    fold_planes(first, layout, count, rows);
    return;
  }
  constexpr int64_t kStep = kPowersAtOnce * Vectors<V>::kCount;
  V block[kPowerBlock];
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] < 0) {
      continue;
    }
    const T* row = first + i * layout.pitch;
    for (int64_t c = 0; c < layout.width; c += kPowerBlock) {
      const int64_t some = std::min(kPowerBlock, layout.width - c);
      const int64_t length = (some + kStep - 1) / kStep * kStep;
      if constexpr (kLoadsRegisters<T>) {
        if (length == some) {
          fold_block(row + c, length, 0, row + c + some, rows[i]);
          continue;
        }
      }
      load_scores<T>(row, c, 1, some, block);
      std::fill(block + some, block + length, -std::numeric_limits<V>::infinity());
      fold_block(block, length, length - some, row + c + some, rows[i]);
    }
  }
}

template <class T>
double score_at(const void* scores, int64_t offset) {
  return to_value(static_cast<const T*>(scores)[offset]);
}

template <class T>
constexpr CrossEntropyKernels kCrossEntropy{fold_rows<T>, score_at<T>};
