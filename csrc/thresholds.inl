#include "lanes.inl"

template <class T>
struct KeyCuts {
  typename Score<T>::Key prob;
  typename Score<T>::Key logit;
  typename Score<T>::Key one;

  FM_INLINE explicit KeyCuts(const Cuts& cuts)
      : prob(static_cast<typename Score<T>::Key>(cuts.prob)),
        logit(static_cast<typename Score<T>::Key>(cuts.logit)),
        one(static_cast<typename Score<T>::Key>(cuts.one)) {}
};

// Decides one element or a vector of them; Bits is the integer type of the same shape as Key.
template <class T, class Key, class Bits>
FM_INLINE Bits decide_keys(Key key, Bits target, const KeyCuts<T>& cuts, Bits* nan, Bits* outside) {
  const Bits zero{};
  const Bits counted = target >= 0 ? zero + 1 : zero;
  const auto nan_key =
      Score<T>::nan(key);  // above no threshold, and neither inside nor outside [0, 1]
  const Bits prob = key > cuts.prob ? zero + int{kProbPositive} : zero;
  const Bits logit = key > cuts.logit ? zero + int{kLogitPositive} : zero;
  const Bits positive = nan_key ? zero : prob | logit;
  const Bits is_outside = (key < 0) | (key > cuts.one) ? counted : zero;
  *outside += nan_key ? zero : is_outside;
  *nan += nan_key ? counted : zero;
  const Bits left_out = target == kBad ? zero + kBadDecision : zero + kIgnoredDecision;
  return target >= 0 ? target | positive : left_out;
}

template <class T>
void decide(const void* scores, int64_t offset, int64_t stride, const int32_t* target,
            int64_t count, const Cuts& all_cuts, uint8_t* decisions, Notes& notes) {
  using L = Lanes<T>;
  using Index = typename L::Index;
  using Indices = typename L::Indices;
  typedef int32_t Codes __attribute__((vector_size(4 * L::kCount)));
  typedef uint8_t Bytes __attribute__((vector_size(L::kCount)));
  const T* first = static_cast<const T*>(scores) + offset;
  const KeyCuts<T> cuts(all_cuts);
  int64_t i = 0;
  if (stride == 1) {
    Indices nan{};
    Indices outside{};
    for (; i + L::kCount <= count; i += L::kCount) {
      Codes codes;
      std::memcpy(&codes, target + i, sizeof(codes));
      const Indices decided = decide_keys<T>(
          L::load(first + i), __builtin_convertvector(codes, Indices), cuts, &nan, &outside);
      const Bytes bytes = __builtin_convertvector(decided, Bytes);
      std::memcpy(decisions + i, &bytes, sizeof(bytes));
    }
    for (int lane = 0; lane < L::kCount; ++lane) {
      notes.nan += nan[lane];
      notes.outside += outside[lane];
    }
  }
  for (; i < count; ++i) {
    Index nan = 0;
    Index outside = 0;
    decisions[i] = static_cast<uint8_t>(decide_keys<T>(
        Score<T>::key(first[i * stride]), static_cast<Index>(target[i]), cuts, &nan, &outside));
    notes.nan += nan;
    notes.outside += outside;
  }
}

template <class T>
constexpr Decide kDecide = decide<T>;

// Counts in bytes, a register of decisions at a time; few enough that no byte overflows.
inline void count_kinds(const uint8_t* decisions, int64_t count, int64_t* kinds) {
  typedef uint8_t Bytes __attribute__((vector_size(FM_VECTOR_BYTES)));
  static_assert(kDecisions / sizeof(Bytes) < 256);
  Bytes found[kDecisionKinds] = {};
  int64_t i = 0;
  for (; i + static_cast<int64_t>(sizeof(Bytes)) <= count; i += sizeof(Bytes)) {
    Bytes v;
    std::memcpy(&v, decisions + i, sizeof(v));
    for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
      found[kind] -= static_cast<Bytes>(v == static_cast<uint8_t>(kind));
    }
  }
  for (int64_t kind = 0; kind < kDecisionKinds; ++kind) {
    int32_t total = 0;
    for (size_t byte = 0; byte < sizeof(Bytes); ++byte) {
      total += found[kind][byte];
    }
    kinds[kind] += total;
  }
  for (; i < count; ++i) {
    if (decisions[i] < kDecisionKinds) {
      ++kinds[decisions[i]];
    }
  }
}

constexpr auto kCountKinds = count_kinds;

// Counts the decisions of two masks; T is the unsigned type of their size. A register of sums is
// emptied before its lanes could overflow.
template <class T>
bool count_mask_kinds(const void* preds, const void* target, int64_t offset, int64_t count,
                      int64_t* kinds) {
  typedef T Lane __attribute__((vector_size(FM_VECTOR_BYTES)));
  constexpr int64_t kLanes = FM_VECTOR_BYTES / sizeof(T);
  constexpr int64_t kSteps = 255;
  const T* pred = static_cast<const T*>(preds) + offset;
  const T* truth = static_cast<const T*>(target) + offset;
  int64_t positive = 0;
  int64_t wanted = 0;
  int64_t both = 0;
  T bits = 0;
  int64_t i = 0;
  while (i + kLanes <= count) {
    const int64_t end = std::min(i + kSteps * kLanes, count / kLanes * kLanes);
    Lane positives{};
    Lane wanteds{};
    Lane boths{};
    Lane any{};
    for (; i < end; i += kLanes) {
      Lane p;
      Lane t;
      std::memcpy(&p, pred + i, sizeof(p));
      std::memcpy(&t, truth + i, sizeof(t));
      any |= p | t;
      positives += p;
      wanteds += t;
      boths += p & t;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      bits |= any[lane];
      positive += static_cast<int64_t>(positives[lane]);
      wanted += static_cast<int64_t>(wanteds[lane]);
      both += static_cast<int64_t>(boths[lane]);
    }
  }
  for (; i < count; ++i) {
    bits |= pred[i] | truth[i];
    positive += static_cast<int64_t>(pred[i]);
    wanted += static_cast<int64_t>(truth[i]);
    both += static_cast<int64_t>(pred[i] & truth[i]);
  }
  if (bits > 1) {
    return false;
  }
  constexpr int kPositive = kProbPositive | kLogitPositive;
  kinds[0] += count - positive - wanted + both;
  kinds[kTarget] += wanted - both;
  kinds[kPositive] += positive - both;
  kinds[kPositive | kTarget] += both;
  return true;
}

template <class T>
constexpr CountMasks kCountMasks = count_mask_kinds<T>;
