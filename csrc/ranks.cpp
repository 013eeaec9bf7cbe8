// rank_moments_ and rank_orders_: what correlations of ranks follow from, over all kept samples.
//
// Numbers become 32-bit images of the same order; those of 64 bits are ranked first. A pair holds
// the image of a target as key above that of the prediction. Sorting the pairs gives the ranks of
// the targets, which take the place of the keys; sorting them again by the predictions gives the
// other ranks. So no rank is ever looked up at a random place.
//
// Pairs are scattered into buckets of adjacent keys that fit the cache, and each bucket is sorted
// and scanned by itself. All sums are integers, and the same for any number of threads.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "op.h"
#include "simd.h"
#include "sorting.h"
#include "stable.h"

namespace fastmetrics {

__extension__ typedef __int128 Int128;

// A key of 32 bits above a number that goes with it.
using Pair = uint64_t;

constexpr int64_t kFewPairs = 24;    // sorted by insertion
constexpr int64_t kFewNumbers = 24;  // compared each with each

inline int width_of(uint64_t number) { return static_cast<int>(std::bit_width(number)); }
inline uint32_t key_of(Pair pair) { return static_cast<uint32_t>(pair >> 32); }
inline uint32_t other_of(Pair pair) { return static_cast<uint32_t>(pair); }

template <class T>
using RankImage = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
using ReadImages = bool (*)(const T* numbers, int64_t stride, int64_t count, RankImage<T>* images);

struct KeyRange {
  uint32_t least;
  uint32_t most;
};

// Groups of equal numbers: t(t-1) and t(t-1)(t-2) summed over the sizes t, and how many there are.
struct Ties {
  int64_t twice_pairs = 0;
  Int128 triples = 0;
  int64_t groups = 0;

  void add(int64_t size) {
    ++groups;
    if (size > 1) {
      twice_pairs += size * (size - 1);
      triples += Int128{size * (size - 1)} * (size - 2);
    }
  }
  Ties& operator+=(const Ties& more) {
    twice_pairs += more.twice_pairs;
    triples += more.triples;
    groups += more.groups;
    return *this;
  }
};

struct Products {
  Ties ties;
  Int128 sum = 0;

  Products& operator+=(const Products& more) {
    ties += more.ties;
    sum += more.sum;
    return *this;
  }
};

struct Orders {
  Ties ties;
  int64_t tied_in_both = 0;

  Orders& operator+=(const Orders& more) {
    ties += more.ties;
    tied_in_both += more.tied_in_both;
    return *this;
  }
};

struct OrderingKernels {
  void (*pack)(const uint32_t* keys, const uint32_t* others, int64_t count, Pair* pairs);
  KeyRange (*range)(const Pair* pairs, int64_t count);
  void (*count)(const Pair* pairs, int64_t count, uint32_t least, int shift, uint32_t* counts);
  void (*scatter)(const Pair* pairs, int64_t count, uint32_t least, int shift,
                  const uint16_t* bucket_of, Pair** ends);
  Pair* (*sort)(Pair* pairs, Pair* spare, int64_t count);
  Ties (*turn)(const Pair* sorted, int64_t count, int64_t begin, Pair* turned);
  Products (*products)(const Pair* sorted, int64_t count, int64_t begin, int64_t total);
  Orders (*list)(const Pair* sorted, int64_t count, uint32_t* others);
  int64_t (*split)(uint32_t* numbers, uint32_t* spare, int64_t count, int bit,
                   uint64_t& inversions);
  uint64_t (*inversions)(uint32_t* numbers, uint32_t* spare, int64_t count, int bit);
};

}  // namespace fastmetrics

#define FM_KERNELS "ranks.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kOneBucket = 1 << 14;  // so many pairs are sorted at once
constexpr int64_t kSplitLevels = 4;      // that prepare tasks for several threads

// One range of `count` for each worker.
struct Ranges {
  int64_t count;
  int64_t parts;
  int64_t length;

  explicit Ranges(int64_t count, int64_t most = std::numeric_limits<int64_t>::max())
      : count(count),
        parts(std::clamp(num_workers(count), int64_t{1}, std::max<int64_t>(most, 1))),
        length((count + parts - 1) / parts) {}

  // Calls f(part, begin, size).
  template <class F>
  void run(F&& f) const {
    for_parts(parts, [&](int64_t part) {
      const int64_t begin = std::min(count, part * length);
      f(part, begin, std::min(count, begin + length) - begin);
    });
  }
};

struct Bucket {
  int64_t begin;
  int64_t count;
};

// The pairs of `spare`, scattered from `pairs` into buckets of ascending keys.
std::vector<Bucket> scatter_into_buckets(const Pair* pairs, Pair* spare, int64_t count) {
  const OrderingKernels& kernels = FM_PICK(kPairs);
  const int most_bits = std::clamp(width_of(static_cast<uint64_t>(count)) - 4, 8, 16);
  const Ranges ranges(count, count >> (most_bits + 2));
  std::vector<KeyRange> found(static_cast<size_t>(ranges.parts), KeyRange{~0u, 0});
  ranges.run([&](int64_t part, int64_t begin, int64_t size) {
    if (size > 0) {
      found[static_cast<size_t>(part)] = kernels.range(pairs + begin, size);
    }
  });
  KeyRange all = found[0];
  for (const KeyRange& one : found) {
    all = KeyRange{std::min(all.least, one.least), std::max(all.most, one.most)};
  }
  const int shift = std::max(width_of(all.most - all.least) - most_bits, 0);
  const size_t bins = size_t{(all.most - all.least) >> shift} + 1;

  std::vector<std::vector<uint32_t>> counts(static_cast<size_t>(ranges.parts));
  ranges.run([&](int64_t part, int64_t begin, int64_t size) {
    std::vector<uint32_t>& own = counts[static_cast<size_t>(part)];
    own.resize(bins);
    kernels.count(pairs + begin, size, all.least, shift, own.data());
  });

  const int64_t wanted = std::max(std::min(count / 64, kOneBucket), count / 1024);
  std::vector<Bucket> buckets;
  std::vector<uint16_t> bucket_of(bins);
  int64_t place = 0;
  for (size_t bin = 0; bin < bins; ++bin) {
    int64_t here = 0;
    for (const std::vector<uint32_t>& own : counts) {
      here += own[bin];
    }
    if (buckets.empty() || buckets.back().count + here > wanted) {
      buckets.push_back(Bucket{place, 0});
    }
    buckets.back().count += here;
    place += here;
    bucket_of[bin] = static_cast<uint16_t>(buckets.size() - 1);
  }

  // Each range has its own place in each bucket, so pairs of one bucket keep their order.
  std::vector<std::vector<Pair*>> ends(static_cast<size_t>(ranges.parts));
  std::vector<Pair*> places;
  for (const Bucket& bucket : buckets) {
    places.push_back(spare + bucket.begin);
  }
  for (size_t part = 0; part < ends.size(); ++part) {
    ends[part] = places;
    for (size_t bin = 0; bin < bins; ++bin) {
      places[bucket_of[bin]] += counts[part][bin];
    }
  }
  ranges.run([&](int64_t part, int64_t begin, int64_t size) {
    kernels.scatter(pairs + begin, size, all.least, shift, bucket_of.data(),
                    ends[static_cast<size_t>(part)].data());
  });
  return buckets;
}

// Sorts pairs by key and returns the sum of use(begin, sorted, other, count) over runs of the
// sorted pairs that share no key; `other` is memory beside `sorted`. Leaves nothing in the arrays
// but what `use` writes there.
template <class Found, class Use>
Found sort_and_use(Pair* pairs, Pair* spare, int64_t count, Use&& use) {
  const OrderingKernels& kernels = FM_PICK(kPairs);
  if (count <= kOneBucket) {
    Pair* const sorted = kernels.sort(pairs, spare, count);
    return use(int64_t{0}, sorted, sorted == pairs ? spare : pairs, count);
  }
  const std::vector<Bucket> buckets = scatter_into_buckets(pairs, spare, count);
  std::vector<Found> found(buckets.size());
  for_tasks<char>(static_cast<int64_t>(buckets.size()), num_workers(count),
                  [&](char, int64_t task) {
                    const Bucket& bucket = buckets[static_cast<size_t>(task)];
                    if (bucket.count == 0) {
                      return;
                    }
                    Pair* const own = spare + bucket.begin;
                    Pair* const other = pairs + bucket.begin;
                    Pair* const sorted = kernels.sort(own, other, bucket.count);
                    found[static_cast<size_t>(task)] =
                        use(bucket.begin, sorted, sorted == own ? other : own, bucket.count);
                  });
  Found total;
  for (const Found& one : found) {
    total += one;
  }
  return total;
}

// Kept numbers, [M] or [M, D] in each chunk.
struct Numbers {
  std::vector<Tensor> chunks;
  ScalarType type = ScalarType::Float;
  int64_t rows = 0;

  Numbers(std::vector<Tensor> given, int64_t columns) : chunks(std::move(given)) {
    for (const Tensor& chunk : chunks) {
      require(chunk.dim() == 2 ? chunk.size(1) == columns : chunk.dim() == 1 && columns == 1,
              "`preds` and `target` must be [M], or [M, D] as the result.");
      type = chunks[0].scalar_type();
      require(chunk.scalar_type() == type, "all chunks need one dtype.");
      rows += chunk.size(0);
    }
    require(is_score_type(type) || is_label_type(type), "the numbers must be real.");
    require(rows <= int64_t{std::numeric_limits<int32_t>::max()},
            "ranks are those of fewer than 2**31 samples.");
  }

  template <class T>
  bool read(int64_t column, RankImage<T>* images) const {
    std::atomic<bool> nan{false};
    for (const Tensor& chunk : chunks) {
      const int64_t stride = chunk.stride(0);
      const T* data = static_cast<const T*>(chunk.const_data_ptr()) +
                      (chunk.dim() == 2 ? column * chunk.stride(1) : 0);
      Ranges(chunk.size(0)).run([&](int64_t, int64_t begin, int64_t size) {
        if (FM_PICK(kReadImages<T>)(data + begin * stride, stride, size, images + begin)) {
          nan = true;
        }
      });
      images += chunk.size(0);
    }
    return nan;
  }
};

// Replaces images of 64 bits by twice their ranks: sorts by the upper halves, and what is equal
// there by the lower ones.
void rank_images(const uint64_t* images, int64_t count, uint32_t* ranks, Pair* pairs, Pair* spare) {
  const OrderingKernels& kernels = FM_PICK(kPairs);
  Ranges(count).run([&](int64_t, int64_t begin, int64_t size) {
    for (int64_t i = begin; i < begin + size; ++i) {
      pairs[i] = (images[i] >> 32) << 32 | static_cast<Pair>(i);
    }
  });
  const auto number = [&](int64_t begin, const Pair* sorted, int64_t size) {
    for (int64_t first = 0; first < size;) {
      int64_t end = first + 1;
      while (end < size && key_of(sorted[end]) == key_of(sorted[first])) {
        ++end;
      }
      for (int64_t i = first; i < end; ++i) {
        ranks[other_of(sorted[i])] = static_cast<uint32_t>(2 * begin + first + end + 1);
      }
      first = end;
    }
  };
  struct Nothing {
    Nothing& operator+=(const Nothing&) { return *this; }
  };
  sort_and_use<Nothing>(pairs, spare, count,
                        [&](int64_t begin, Pair* sorted, Pair* other, int64_t size) {
                          for (int64_t first = 0; first < size;) {
                            int64_t end = first + 1;
                            while (end < size && key_of(sorted[end]) == key_of(sorted[first])) {
                              ++end;
                            }
                            Pair* run = sorted + first;
                            if (end - first > 1) {
                              for (int64_t i = first; i < end; ++i) {
                                const uint32_t place = other_of(sorted[i]);
                                sorted[i] = images[place] << 32 | place;
                              }
                              run = kernels.sort(run, other + first, end - first);
                            }
                            number(begin + first, run, end - first);
                            first = end;
                          }
                          return Nothing{};
                        });
}

// The memory that the samples of one output take.
struct Workspace {
  Uncleared<uint32_t> preds;
  Uncleared<uint32_t> target;
  Uncleared<Pair> pairs;
  Uncleared<Pair> spare;

  explicit Workspace(int64_t rows) : preds(rows), target(rows), pairs(rows), spare(rows) {}

  // Says whether any number was NaN.
  bool read(const Numbers& numbers, int64_t column, uint32_t* images) {
    const auto one = [&](auto type) {
      using T = decltype(type);
      if constexpr (sizeof(T) == 8) {
        Uncleared<uint64_t> wide(numbers.rows);
        const bool nan = numbers.read<T>(column, wide.data());
        if (!nan) {
          rank_images(wide.data(), numbers.rows, images, pairs.data(), spare.data());
        }
        return nan;
      } else {
        return numbers.read<T>(column, images);
      }
    };
    return is_score_type(numbers.type) ? with_score_type(numbers.type, one)
                                       : with_label_type(numbers.type, one);
  }

  bool read_pairs(const Numbers& from_preds, const Numbers& from_target, int64_t column) {
    if (read(from_preds, column, preds.data()) || read(from_target, column, target.data())) {
      return false;
    }
    Ranges(from_preds.rows).run([&](int64_t, int64_t begin, int64_t size) {
      FM_PICK(kPairs).pack(target.data() + begin, preds.data() + begin, size, pairs.data() + begin);
    });
    return true;
  }

  // Leaves the predictions as keys, and twice the rank of its target with each.
  Ties rank_targets(int64_t rows) {
    return sort_and_use<Ties>(pairs.data(), spare.data(), rows,
                              [&](int64_t begin, const Pair* sorted, Pair*, int64_t size) {
                                return FM_PICK(kPairs).turn(sorted, size, begin,
                                                            pairs.data() + begin);
                              });
  }
};

// Columns of the results; fastmetrics/ops/ranks.py documents them.
struct Moments {
  double count;
  double m2_preds;
  double m2_target;
  double co_moment;
};

struct OrderCounts {
  int64_t count = 0;
  int64_t discordant = 0;
  int64_t tied_preds = 0;
  int64_t tied_target = 0;
  int64_t tied_in_both = 0;
  int64_t distinct_preds = 0;
  int64_t distinct_target = 0;
  int64_t nan = 0;
};

// A third of n^3 - n, less that of each group of ties.
double sum_of_squares(int64_t count, const Ties& ties) {
  const Int128 cube = Int128{count} * count * count - count;
  return static_cast<double>((cube - ties.triples - 3 * Int128{ties.twice_pairs}) / 3);
}

Moments moments_of(const Numbers& preds, const Numbers& target, int64_t column) {
  const int64_t rows = preds.rows;
  Workspace space(rows);
  if (!space.read_pairs(preds, target, column)) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    return Moments{static_cast<double>(rows), kNan, kNan, kNan};
  }
  const Ties ties = space.rank_targets(rows);
  const Products found =
      sort_and_use<Products>(space.pairs.data(), space.spare.data(), rows,
                             [&](int64_t begin, const Pair* sorted, Pair*, int64_t size) {
                               return FM_PICK(kPairs).products(sorted, size, begin, rows);
                             });
  return Moments{static_cast<double>(rows), sum_of_squares(rows, found.ties),
                 sum_of_squares(rows, ties), static_cast<double>(found.sum)};
}

// Counts pairs in descending order; the first levels make tasks for the threads.
int64_t inversions_of(uint32_t* numbers, uint32_t* spare, int64_t count, int bit) {
  const OrderingKernels& kernels = FM_PICK(kPairs);
  uint64_t total = 0;
  std::vector<Bucket> nodes{Bucket{0, count}};
  if (num_workers(count) > 1) {
    for (int64_t level = 0; level < kSplitLevels && bit >= 0; ++level, --bit) {
      std::vector<Bucket> halves;
      for (const Bucket& node : nodes) {
        const int64_t without =
            kernels.split(numbers + node.begin, spare + node.begin, node.count, bit, total);
        halves.push_back(Bucket{node.begin, without});
        halves.push_back(Bucket{node.begin + without, node.count - without});
      }
      nodes = std::move(halves);
    }
  }
  std::vector<uint64_t> found(nodes.size());
  for_tasks<char>(static_cast<int64_t>(nodes.size()), num_workers(count), [&](char, int64_t task) {
    const Bucket& node = nodes[static_cast<size_t>(task)];
    found[static_cast<size_t>(task)] =
        kernels.inversions(numbers + node.begin, spare + node.begin, node.count, bit);
  });
  for (const uint64_t one : found) {
    total += one;
  }
  return static_cast<int64_t>(total);
}

void orders_of(const Numbers& preds, const Numbers& target, int64_t column, OrderCounts& counts,
               double* triples) {
  const int64_t rows = preds.rows;
  Workspace space(rows);
  counts.count = rows;
  if (!space.read_pairs(preds, target, column)) {
    counts.nan = 1;
    return;
  }
  const Ties ties = space.rank_targets(rows);
  // The images are needed no more.
  uint32_t* const ranks = space.target.data();
  const Orders found =
      sort_and_use<Orders>(space.pairs.data(), space.spare.data(), rows,
                           [&](int64_t begin, const Pair* sorted, Pair*, int64_t size) {
                             return FM_PICK(kPairs).list(sorted, size, ranks + begin);
                           });
  counts.discordant =
      inversions_of(ranks, space.preds.data(), rows, width_of(static_cast<uint64_t>(2 * rows)) - 1);
  counts.tied_preds = found.ties.twice_pairs / 2;
  counts.tied_target = ties.twice_pairs / 2;
  counts.tied_in_both = found.tied_in_both;
  counts.distinct_preds = found.ties.groups;
  counts.distinct_target = ties.groups;
  triples[0] = static_cast<double>(found.ties.triples);
  triples[1] = static_cast<double>(ties.triples);
}

// Calls clear() once the inputs are known to fit, then one(column, preds, target): a thread for
// each column, or all of them for one after another.
template <class Clear, class F>
void for_outputs(std::vector<Tensor> preds, std::vector<Tensor> target, int64_t columns,
                 Clear&& clear, F&& one) {
  const Numbers from_preds(std::move(preds), columns);
  const Numbers from_target(std::move(target), columns);
  require(from_preds.rows == from_target.rows, "`preds` and `target` need as many samples.");
  clear();
  if (from_preds.rows == 0) {
    return;
  }
  const auto use = [&](int64_t column) { one(column, from_preds, from_target); };
  const int64_t workers = num_workers(from_preds.rows * columns);
  if (workers > 1 && columns >= workers) {
    for_parts(columns, use);
    return;
  }
  for (int64_t column = 0; column < columns; ++column) {
    use(column);
  }
}

void rank_moments_cpu(Tensor moments, std::vector<Tensor> preds, std::vector<Tensor> target) {
  require(moments.scalar_type() == ScalarType::Double && moments.dim() == 2 && moments.size(1) == 4,
          "`moments` must be float64 [D, 4].");
  double* const out = state_data<double>(moments);
  for_outputs(
      std::move(preds), std::move(target), moments.size(0),
      [&] { std::fill_n(out, moments.numel(), 0.0); },
      [&](int64_t column, const Numbers& from_preds, const Numbers& from_target) {
        const Moments found = moments_of(from_preds, from_target, column);
        std::memcpy(out + 4 * column, &found, sizeof(found));
      });
}

void rank_orders_cpu(Tensor orders, Tensor triples, std::vector<Tensor> preds,
                     std::vector<Tensor> target) {
  require(orders.scalar_type() == ScalarType::Long && orders.dim() == 2 && orders.size(1) == 8,
          "`orders` must be int64 [D, 8].");
  require(triples.scalar_type() == ScalarType::Double && triples.dim() == 2 &&
              triples.size(0) == orders.size(0) && triples.size(1) == 2,
          "`triples` must be float64 [D, 2].");
  int64_t* const counts = state_data<int64_t>(orders);
  double* const cubes = state_data<double>(triples);
  for_outputs(
      std::move(preds), std::move(target), orders.size(0),
      [&] {
        std::fill_n(counts, orders.numel(), int64_t{0});
        std::fill_n(cubes, triples.numel(), 0.0);
      },
      [&](int64_t column, const Numbers& from_preds, const Numbers& from_target) {
        OrderCounts found;
        orders_of(from_preds, from_target, column, found, cubes + 2 * column);
        std::memcpy(counts + 8 * column, &found, sizeof(found));
      });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<rank_moments_cpu>(library, "rank_moments_");
  register_op<rank_orders_cpu>(library, "rank_orders_");
}

}  // namespace fastmetrics
