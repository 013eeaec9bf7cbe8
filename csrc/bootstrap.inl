// Weights of the replicas of a bootstrap, and rows of counts that they are added to.

// Wider registers gain nothing: their comparisons go through masks.
constexpr int64_t kWide = FM_VECTOR_BYTES < 32 ? FM_VECTOR_BYTES : 32;
constexpr int64_t kWords = kWide / 4;
constexpr int64_t kHalves = kWide / 2;
typedef uint32_t Words __attribute__((vector_size(kWide)));
typedef int16_t Halves __attribute__((vector_size(kWide)));
#if FM_VECTOR_BYTES < 32
constexpr Words kOrder{0, 1, 2, 3};
#else
constexpr Words kOrder{0, 1, 2, 3, 4, 5, 6, 7};
#endif

// The 64 random bits of a sample: splitmix64 at its number.
inline void sample_keys(const int64_t* numbers, int64_t count, uint64_t seed, uint64_t* keys) {
  for (int64_t i = 0; i < count; ++i) {
    uint64_t z = seed + (static_cast<uint64_t>(numbers[i]) + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    keys[i] = z ^ (z >> 31);
  }
}

// Calls f(lane, weights) for every kHalves replicas of a sample. Word j starts as low + j * high,
// so that any two words of a sample are independent, and is mixed; each half of it counts the
// thresholds that it is above.
template <class F>
FM_INLINE void for_weights(uint64_t key, int64_t lanes, F&& f) {
  const uint32_t high = static_cast<uint32_t>(key >> 32) | 1;
  Words start = kOrder * high + static_cast<uint32_t>(key);
  for (int64_t lane = 0; lane < lanes; lane += kHalves) {
    Words x = start;
    start += static_cast<uint32_t>(kWords) * high;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    x ^= x >> 16;
    const Halves halves = (Halves)x;
    Halves weights = {};
    for (const int16_t threshold : kThresholds) {
      weights -= halves > threshold;  // true is -1
    }
    f(lane, weights);
  }
}

FM_INLINE void add_to(uint16_t* row, Halves weights) {
  Halves sums;
  std::memcpy(&sums, row, sizeof sums);
  sums += weights;
  std::memcpy(row, &sums, sizeof sums);
}

inline void write_weights(const uint64_t* keys, int64_t count, int64_t replicas, uint16_t* lanes,
                          uint8_t* weights) {
  const int64_t padded = padded_lanes(replicas);
  for (int64_t i = 0; i < count; ++i) {
    for_weights(keys[i], padded, [&](int64_t lane, Halves drawn) {
      std::memcpy(lanes + lane, &drawn, sizeof drawn);
    });
    for (int64_t r = 0; r < replicas; ++r) {
      weights[i * replicas + r] = static_cast<uint8_t>(lanes[r]);
    }
  }
}

// A hit counts for its class, a miss for the class of the target and the one that was predicted.
inline void tally_replicas(const int32_t* target, const int32_t* pred, const uint64_t* keys,
                           int64_t count, int64_t lanes, uint16_t* rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (target[i] < 0) {
      continue;
    }
    uint16_t* of_target = rows + target[i] * kTallies * lanes;
    uint16_t* of_pred = rows + pred[i] * kTallies * lanes;
    if (target[i] == pred[i]) {
      for_weights(keys[i], lanes, [&](int64_t lane, Halves drawn) {
        add_to(of_target + kTp * lanes + lane, drawn);
      });
    } else {
      for_weights(keys[i], lanes, [&](int64_t lane, Halves drawn) {
        add_to(of_target + kFn * lanes + lane, drawn);
        add_to(of_pred + kFp * lanes + lane, drawn);
      });
    }
  }
}

constexpr BootstrapKernels kBootstrap{sample_keys, write_weights, tally_replicas};
