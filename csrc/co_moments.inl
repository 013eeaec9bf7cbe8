// Shifted sums over a tile of pairs, and the loading of what is not read in place.

typedef double Doubles __attribute__((vector_size(FM_VECTOR_BYTES)));
#if FM_VECTOR_BYTES == 16
typedef float Floats __attribute__((vector_size(FM_VECTOR_BYTES / 2)));
#endif
constexpr int kLanes = FM_VECTOR_BYTES / 8;

FM_INLINE Doubles load_lanes(const double* data) {
  Doubles v;
  std::memcpy(&v, data, sizeof(v));
  return v;
}
FM_INLINE Doubles load_lanes(const float* data) {
#if defined(FM_AVX512)
  // GCC converts the halves one by one and joins them.
  return (Doubles)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(data));
#elif FM_VECTOR_BYTES == 32
  return (Doubles)_mm256_cvtps_pd(_mm_loadu_ps(data));
#else
  Floats v;
  std::memcpy(&v, data, sizeof(v));
  return __builtin_convertvector(v, Doubles);
#endif
}

// sum + a * b, contracted where the instruction set can: ISO C++ leaves that to us.
FM_INLINE void add_product(double& sum, double a, double b) { sum += a * b; }
FM_INLINE void add_product(Doubles& sum, Doubles a, Doubles b) {
#if defined(FM_AVX512)
  sum = (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)sum);
#elif FM_VECTOR_BYTES == 32
  sum = (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)sum);
#else
  sum += a * b;
#endif
}

// The running sums of one column, or of a vector of columns.
template <class T>
struct ShiftedSums {
  T x, y, d, xx, yy, dd, xy, low, high;

  FM_INLINE void add(T preds, T target, const T* shift) {
    const T from_x = preds - shift[0];
    const T from_y = target - shift[1];
    const T from_d = (target - preds) - shift[2];
    x += from_x;
    y += from_y;
    d += from_d;
    add_product(xx, from_x, from_x);
    add_product(yy, from_y, from_y);
    add_product(dd, from_d, from_d);
    add_product(xy, from_x, from_y);
    low = target < low ? target : low;
    high = target > high ? target : high;
  }

  // Pairs of weight zero count as if they were not there, whatever they hold.
  FM_INLINE void add(T preds, T target, T weight, const T* shift) {
    const T none{};
    const T from_x = weight != none ? preds - shift[0] : none;
    const T from_y = weight != none ? target - shift[1] : none;
    const T from_d = weight != none ? (target - preds) - shift[2] : none;
    const T weighted_x = weight * from_x;
    const T weighted_y = weight * from_y;
    const T weighted_d = weight * from_d;
    x += weighted_x;
    y += weighted_y;
    d += weighted_d;
    add_product(xx, weighted_x, from_x);
    add_product(yy, weighted_y, from_y);
    add_product(dd, weighted_d, from_d);
    add_product(xy, weighted_x, from_y);
    const T lowest = weight != none ? target : low;
    const T highest = weight != none ? target : high;
    low = lowest < low ? lowest : low;
    high = highest > high ? highest : high;
  }
};

// One row of `stride` numbers per sum, in the order of ShiftedSums.
template <class T>
FM_INLINE ShiftedSums<T> load_sums(const double* sums, int64_t stride) {
  ShiftedSums<T> column;
  T* fields[] = {&column.x,  &column.y,  &column.d,   &column.xx,  &column.yy,
                 &column.dd, &column.xy, &column.low, &column.high};
  for (int i = 0; i < kNumSums; ++i) {
    std::memcpy(fields[i], sums + i * stride, sizeof(T));
  }
  return column;
}
template <class T>
FM_INLINE void store_sums(const ShiftedSums<T>& column, double* sums, int64_t stride) {
  const T* fields[] = {&column.x,  &column.y,  &column.d,   &column.xx,  &column.yy,
                       &column.dd, &column.xy, &column.low, &column.high};
  for (int i = 0; i < kNumSums; ++i) {
    std::memcpy(sums + i * stride, fields[i], sizeof(T));
  }
}

template <class V, bool kWeighted>
void add_pairs(const Tile<V>& tile, const double* shifts, double* sums, int64_t stride) {
  int64_t column = 0;
  for (; column + kLanes <= tile.width; column += kLanes) {
    const Doubles shift[] = {load_lanes(shifts + column), load_lanes(shifts + stride + column),
                             load_lanes(shifts + 2 * stride + column)};
    auto lanes = load_sums<Doubles>(sums + column, stride);
    for (int64_t row = 0; row < tile.rows; ++row) {
      const V* preds_row = tile.preds + row * tile.preds_pitch + column;
      const V* target_row = tile.target + row * tile.target_pitch + column;
      // The same place of the next tile: going down a column the hardware does not foresee it.
      __builtin_prefetch(preds_row + tile.rows * tile.preds_pitch);
      __builtin_prefetch(target_row + tile.rows * tile.target_pitch);
      const Doubles preds = load_lanes(preds_row);
      const Doubles target = load_lanes(target_row);
      if constexpr (kWeighted) {
        lanes.add(preds, target, load_lanes(tile.weight + row * tile.width + column), shift);
      } else {
        lanes.add(preds, target, shift);
      }
    }
    store_sums(lanes, sums + column, stride);
  }
  for (; column < tile.width; ++column) {
    const double shift[] = {shifts[column], shifts[stride + column], shifts[2 * stride + column]};
    auto lane = load_sums<double>(sums + column, stride);
    for (int64_t row = 0; row < tile.rows; ++row) {
      const double preds = tile.preds[row * tile.preds_pitch + column];
      const double target = tile.target[row * tile.target_pitch + column];
      if constexpr (kWeighted) {
        lane.add(preds, target, tile.weight[row * tile.width + column], shift);
      } else {
        lane.add(preds, target, shift);
      }
    }
    store_sums(lane, sums + column, stride);
  }
}

template <class T>
FM_INLINE T to_number(T value) {
  return value;
}
FM_INLINE float to_number(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
FM_INLINE float to_number(Half value) {
  const uint32_t exponent = value.bits & 0x7c00;
  const uint32_t magnitude = (value.bits & 0x7fffu) << 13;
  const uint32_t rebased = magnitude + (exponent == 0x7c00 ? 0x70000000u : 0x38000000u);
  const float tiny = static_cast<float>(static_cast<int32_t>(value.bits & 0x3ff)) * 0x1p-24f;
  const uint32_t bits = exponent == 0 ? std::bit_cast<uint32_t>(tiny) : rebased;
  return std::bit_cast<float>(bits | (value.bits & 0x8000u) << 16);
}

template <class T, class V>
void load_numbers(const void* data, int64_t offset, int64_t stride, int64_t count, V* numbers) {
  const T* first = static_cast<const T*>(data) + offset;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      numbers[i] = static_cast<V>(to_number(first[i]));
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      numbers[i] = static_cast<V>(to_number(first[i * stride]));
    }
  }
}

// How many weights are not zero, their sum, and the place of the largest.
inline WeightSummary sum_weights(const double* weights, int64_t count) {
  Doubles sums{};
  Doubles counts{};
  Doubles largest{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Doubles w = load_lanes(weights + i);
    sums += w;
    counts += w != Doubles{} ? Doubles{} + 1.0 : Doubles{};
    largest = w > largest ? w : largest;
  }
  WeightSummary found{0.0, 0.0, 0};
  double top = 0.0;
  for (int lane = 0; lane < kLanes; ++lane) {
    found.sum += sums[lane];
    found.count += counts[lane];
    top = largest[lane] > top ? largest[lane] : top;
  }
  for (; i < count; ++i) {
    found.sum += weights[i];
    found.count += weights[i] != 0 ? 1.0 : 0.0;
    top = weights[i] > top ? weights[i] : top;
  }
  const double* place = std::find(weights, weights + count, top);
  found.largest = place == weights + count ? 0 : place - weights;
  return found;
}

constexpr SumWeights kSumWeights = sum_weights;

// Whether whole numbers among these may have been rounded when they became doubles.
inline bool exceed_exact(const double* numbers, int64_t count) {
  Doubles least{};
  Doubles most{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Doubles v = load_lanes(numbers + i);
    least = v < least ? v : least;
    most = v > most ? v : most;
  }
  bool beyond = false;
  for (int lane = 0; lane < kLanes; ++lane) {
    beyond |= most[lane] >= 0x1p53 || least[lane] <= -0x1p53;
  }
  for (; i < count; ++i) {
    beyond |= numbers[i] >= 0x1p53 || numbers[i] <= -0x1p53;
  }
  return beyond;
}

constexpr ExceedExact kExceedExact = exceed_exact;

template <class V>
constexpr MomentKernels<V> kPairs{kLanes, add_pairs<V, false>, add_pairs<V, true>};
template <class C>
constexpr LoadNumbers<typename C::To> kLoadNumbers = load_numbers<typename C::From, typename C::To>;
