// ranking_sums_: where the positive labels of a row stand among all of its labels.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "labels.h"
#include "op.h"
#include "parallel.h"
#include "scores.h"

namespace fastmetrics {

template <class T>
using RankKey = std::conditional_t<std::is_same_v<T, double>, int64_t, int32_t>;

// Below the key of minus infinity.
template <class Key>
constexpr Key kNanKey = std::numeric_limits<Key>::min();

constexpr int64_t kSplitPadding = 16;

struct RowSplit {
  int64_t positives = 0;
  int64_t negatives = 0;
  bool bad = false;
  bool nan = false;
};

// Sums over the positive labels of a row.
struct RowRanks {
  double precision = 0.0;  // positives among the labels that reach each one
  int64_t wrong = 0;       // negatives that reach each one
  int64_t lowest = 0;      // labels that reach the lowest one

  // `count` positives that `own` positives (with themselves) and `others` negatives reach.
  void add(int64_t count, int64_t own, int64_t others) {
    precision += static_cast<double>(count * own) / static_cast<double>(own + others);
    wrong += count * others;
    lowest = std::max(lowest, own + others);
  }
};

template <class Key>
using ReadRankKeys = void (*)(const void* scores, int64_t offset, int64_t stride, int64_t count,
                              Key* keys);

template <class Key>
struct RankKernels {
  RowSplit (*split_labels)(const Key* keys, const int32_t* codes, int64_t count, Key* positives,
                           Key* negatives);
  int64_t (*coverage)(const Key* positives, const Key* negatives, const RowSplit& split);
  RowRanks (*compare_labels)(const Key* positives, const Key* negatives, const RowSplit& split);
};

}  // namespace fastmetrics

#define FM_KERNELS "ranking.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

// Bits of `measures`, and columns of the state; the last column is the number of rows.
enum Measure : int64_t { kCoverage = 1, kPrecision = 2, kLoss = 4 };
constexpr int64_t kRankingSums = 4;

// Whether comparing each positive with every label costs less than sorting them: a comparison takes
// about 0.03 ns, and the start of a list of them as long as 300; sorting takes 6 ns per label.
bool comparing_is_cheap(const RowSplit& split) {
  const int64_t labels = split.positives + split.negatives;
  return split.positives * (300 + labels) < 50'000 + 200 * labels;
}

// Shorter lists are sorted by comparisons.
constexpr int64_t kSortedByBytes = 96;

// Ascending by bytes, least significant first; `spare` has the size of `keys`.
template <class Key>
void sort_keys(Key* keys, int64_t count, Key* spare) {
  using Bits = std::make_unsigned_t<Key>;
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Key) - 1);
  if (count < kSortedByBytes) {
    std::sort(keys, keys + count);
    return;
  }
  std::array<std::array<int64_t, 256>, sizeof(Key)> starts{};
  for (int64_t i = 0; i < count; ++i) {
    const Bits bits = static_cast<Bits>(keys[i]) ^ kSign;
    for (size_t byte = 0; byte < sizeof(Key); ++byte) {
      ++starts[byte][bits >> (8 * byte) & 0xff];
    }
  }
  Key* from = keys;
  Key* to = spare;
  for (size_t byte = 0; byte < sizeof(Key); ++byte) {
    std::array<int64_t, 256>& start = starts[byte];
    int64_t sum = 0;
    for (int64_t& place : start) {
      sum += std::exchange(place, sum);
    }
    for (int64_t i = 0; i < count; ++i) {
      const Bits bits = static_cast<Bits>(from[i]) ^ kSign;
      to[start[bits >> (8 * byte) & 0xff]++] = from[i];
    }
    std::swap(from, to);
  }
  static_assert(sizeof(Key) % 2 == 0, "an even number of passes ends in `keys`");
}

// Walks both sorted lists down from the highest score, one group of equal positives at a time.
template <class Key>
RowRanks merge_labels(const Key* positives, const Key* negatives, const RowSplit& split) {
  RowRanks ranks;
  int64_t above = split.negatives;  // negatives below this index lie below the group
  for (int64_t i = split.positives; i > 0;) {
    const Key bound = positives[i - 1];
    const int64_t last = i;
    while (i > 0 && positives[i - 1] == bound) {
      --i;
    }
    while (above > 0 && negatives[above - 1] >= bound) {
      --above;
    }
    ranks.add(last - i, split.positives - i, split.negatives - above);
  }
  return ranks;
}

class RankReader {
 public:
  RankReader(const Tensor& preds, const Tensor& target, std::optional<int64_t> ignore_index)
      : preds_(preds), target_(target), rule_{2, ignore_index}, labels_(target, rule_) {
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      if (axis != 1) {
        geometry_.push(target.size(axis), preds.stride(axis), target.stride(axis));
      }
    }
    width_ = target.size(1);
    rows_ = target.numel() / width_;
    depth_ = rows_ / target.size(0);
  }

  int64_t rows() const { return rows_; }
  int64_t bytes_per_row() const {
    return width_ * static_cast<int64_t>(preds_.element_size() + target_.element_size());
  }

  // Adds rows [begin, end) to `sums`.
  void sum(int64_t begin, int64_t end, const Weights& weights, int64_t measures, double* sums,
           Notes& notes) const {
    with_score_type(preds_.scalar_type(), [&](auto type) {
      using T = decltype(type);
      using Key = RankKey<T>;
      const RankKernels<Key>& kernels = FM_PICK(kRanks<Key>);
      const ReadRankKeys<Key> read_keys = FM_PICK(kReadRankKeys<T>);
      std::vector<int32_t> codes(width_);
      std::vector<Key> keys(width_);
      std::vector<Key> positives(width_ + kSplitPadding);
      std::vector<Key> negatives(width_ + kSplitPadding);
      WeightsInOrder amounts(weights, end, depth_);
      int64_t row = begin;
      geometry_.for_runs(begin, end, [&](int64_t length, int64_t from, int64_t label_from) {
        for (int64_t i = 0; i < length; ++i, ++row) {
          labels_.read(label_from + i * geometry_.inner_b(), target_.stride(1), width_,
                       codes.data());
          read_keys(preds_.const_data_ptr(), from + i * geometry_.inner_a(), preds_.stride(1),
                    width_, keys.data());
          const RowSplit split = kernels.split_labels(keys.data(), codes.data(), width_,
                                                      positives.data(), negatives.data());
          notes.bad += split.bad;
          const double weight = amounts.at(row, notes.weights);
          if (split.bad || split.positives + split.negatives == 0) {
            continue;
          }
          notes.nan += split.nan;
          add_row(kernels, split, keys.data(), positives.data(), negatives.data(), measures, weight,
                  sums);
        }
      });
    });
  }

  [[noreturn]] void raise_bad_label() const {
    const LabelArgument argument{"target", target_, rule_};
    raise_first_bad("ranking_sums_", std::span(&argument, 1), rule_.ignore);
  }

 private:
  template <class Key>
  static void add_row(const RankKernels<Key>& kernels, const RowSplit& split, Key* spare,
                      Key* positives, Key* negatives, int64_t measures, double weight,
                      double* sums) {
    sums[3] += weight;
    if (split.positives == 0 || split.negatives == 0) {
      sums[0] += measures & kCoverage ? weight * static_cast<double>(split.positives) : 0.0;
      sums[1] += measures & kPrecision ? weight : 0.0;
      return;
    }
    if (measures == kCoverage) {
      sums[0] += weight * static_cast<double>(kernels.coverage(positives, negatives, split));
      return;
    }
    RowRanks ranks;
    if (comparing_is_cheap(split)) {
      ranks = kernels.compare_labels(positives, negatives, split);
    } else {
      sort_keys(positives, split.positives, spare);
      sort_keys(negatives, split.negatives, spare);
      ranks = merge_labels(positives, negatives, split);
    }
    const double count = static_cast<double>(split.positives);
    sums[0] += measures & kCoverage ? weight * static_cast<double>(ranks.lowest) : 0.0;
    sums[1] += measures & kPrecision ? weight * (ranks.precision / count) : 0.0;
    sums[2] += measures & kLoss ? weight * (static_cast<double>(ranks.wrong) /
                                            (count * static_cast<double>(split.negatives)))
                                : 0.0;
  }

  const Tensor& preds_;
  const Tensor& target_;
  LabelRule rule_;
  LabelReader labels_;
  Geometry geometry_;
  int64_t width_;
  int64_t rows_;
  int64_t depth_;
};

void ranking_sums_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                      int64_t measures, const std::optional<Tensor>& weight,
                      std::optional<int64_t> ignore_index, bool validate) {
  require(state.dim() == 1 && state.size(0) == kRankingSums &&
              state.scalar_type() == ScalarType::Double,
          "the state of ranking_sums_ must be float64 [4].");
  require(measures > 0 && measures <= (kCoverage | kPrecision | kLoss),
          "`measures` must name a measure.");
  require(preds.dim() == target.dim() && target.dim() > 1, "the label axis does not fit.");
  for (int64_t axis = 0; axis < target.dim(); ++axis) {
    require(preds.size(axis) == target.size(axis), "`preds` and `target` do not fit.");
  }
  require(is_score_type(preds.scalar_type()), "`preds` must be a float tensor.");
  require(is_label_type(target.scalar_type()), "`target` must be an integer or bool tensor.");
  const Weights weights(weight, target.size(0), state);
  if (target.numel() == 0) {
    return;
  }
  int64_t* event_counts = events_data(events);
  double* data = state_data<double>(state);
  const RankReader reader(preds, target, ignore_index);
  const Partition partition(reader.rows(), reader.bytes_per_row(), 0, false, 1);
  Scratch<double> scratch(partition.parts, kRankingSums);
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    reader.sum(begin, end, weights, measures, scratch.sums(part), scratch.notes(part));
  });
  const Notes notes = scratch.combine();
  if (notes.bad > 0 && validate) {
    reader.raise_bad_label();
  }
  for (int64_t i = 0; i < kRankingSums; ++i) {
    data[i] += scratch.sums(0)[i];
  }
  event_counts[kNan] += notes.nan;
  event_counts[kBadWeight] += notes.weights;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<ranking_sums_cpu>(library, "ranking_sums_");
}

}  // namespace fastmetrics
