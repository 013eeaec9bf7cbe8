// match_curves_: precision over recall of matched detections, by the rules of the COCO tools.
//
// The rows of a class are sorted once, by falling score. Each class, range of areas and limit of
// detections is then a task: one walk over the sorted rows, with a counter for each IoU threshold.
// Precision can only rise where a detection hits, so nothing else is kept of the walk.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "op.h"
#include "parallel.h"
#include "sorting.h"

namespace fastmetrics {
namespace {

// Columns of a row, as box_matches.cpp writes them.
enum Column : int64_t { kScore = 0, kClass = 1, kImage = 2, kRank = 3, kBits = 4 };

inline constexpr double kSpacing = std::numeric_limits<double>::epsilon();
inline constexpr int64_t kRowsPerWorker = 4096;

struct Row {
  uint64_t key;  // rises as the score falls
  const int64_t* columns;
};

double score_of(const int64_t* columns) { return std::bit_cast<double>(columns[kScore]); }

uint64_t falling_key(double score) {
  const auto bits = std::bit_cast<uint64_t>(score + 0.0);  // no negative zero
  const uint64_t rising = bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
  return ~rising;
}

struct Curves {
  int64_t thresholds, recalls, classes, ranges, limits;
  double* precision;
  double* recall;
  double* scores;  // or null
};

// The detections of each class by falling score, and how many ground truths count.
struct Classes {
  std::vector<std::vector<Row>> rows;
  std::vector<int64_t> truths;  // [K, A]

  Classes(const int64_t* table, int64_t count, int64_t width, std::span<const int64_t> labels,
          int64_t ranges, bool by_class)
      : rows(labels.size()), truths(labels.size() * ranges) {
    for (const int64_t* row = table; row != table + count * width; row += width) {
      size_t k = 0;
      if (by_class) {
        k = static_cast<size_t>(std::ranges::lower_bound(labels, row[kClass]) - labels.begin());
        require(k < labels.size() && labels[k] == row[kClass],
                "`classes` must hold all classes, in order.");
      }
      if (row[kRank] >= 0) {
        rows[k].push_back({falling_key(score_of(row)), row});
        continue;
      }
      for (int64_t range = 0; range < ranges; ++range) {
        truths[k * ranges + range] += row[kBits] >> range & 1;
      }
    }
    for_tasks<char>(
        static_cast<int64_t>(labels.size()),
        std::clamp(count / kRowsPerWorker, int64_t{1}, num_threads()), [&](char, int64_t k) {
          std::ranges::stable_sort(rows[k], [](const Row& a, const Row& b) {
            return a.key != b.key ? a.key < b.key : a.columns[kImage] < b.columns[kImage];
          });
        });
  }
};

// What one threshold has seen.
struct Hits {
  int64_t misses = 0;
  std::vector<double> precision;
  std::vector<double> scores;
};

class Walk {
 public:
  Walk(const Curves& curves, std::span<const double> recalls, int64_t words)
      : curves_(curves), recalls_(recalls), words_(words), hits_(64) {}

  void run(const std::vector<Row>& rows, int64_t truths, int64_t limit, int64_t range,
           int64_t task) {
    for (int64_t first = 0; first < curves_.thresholds; first += 64) {
      const int64_t here = std::min<int64_t>(64, curves_.thresholds - first);
      if (truths > 0) {
        count(rows, limit, range * curves_.thresholds + first, here);
      }
      for (int64_t t = 0; t < here; ++t) {
        write(first + t, hits_[t], truths, task);
      }
    }
  }

 private:
  // `size` bits from bit `first` on.
  static uint64_t bits_of(const int64_t* words, int64_t first, int64_t size) {
    const int64_t shift = first % 64;
    uint64_t bits = static_cast<uint64_t>(words[first / 64]) >> shift;
    if (shift + size > 64) {
      bits |= static_cast<uint64_t>(words[first / 64 + 1]) << (64 - shift);
    }
    return size == 64 ? bits : bits & ((uint64_t{1} << size) - 1);
  }

  void count(const std::vector<Row>& rows, int64_t limit, int64_t first, int64_t size) {
    const uint64_t all = size == 64 ? ~uint64_t{0} : (uint64_t{1} << size) - 1;
    for (int64_t t = 0; t < size; ++t) {
      hits_[t].misses = 0;
      hits_[t].precision.clear();
      hits_[t].scores.clear();
    }
    seen_ = 0;
    int64_t missed_by_all = 0;
    for (const Row& row : rows) {
      if (row.columns[kRank] >= limit) {
        continue;
      }
      const double score = score_of(row.columns);
      top_ = seen_++ == 0 ? score : top_;
      const uint64_t matched = bits_of(row.columns + kBits, first, size);
      uint64_t counted = all & ~bits_of(row.columns + kBits + words_, first, size);
      if (matched == 0 && counted == all) {
        ++missed_by_all;
        continue;
      }
      for (; counted != 0; counted &= counted - 1) {
        const int t = std::countr_zero(counted);
        Hits& hits = hits_[t];
        if ((matched >> t & 1) == 0) {
          ++hits.misses;
          continue;
        }
        const auto found = static_cast<double>(hits.precision.size() + 1);
        const auto missed = static_cast<double>(hits.misses + missed_by_all);
        hits.precision.push_back(found / (missed + found + kSpacing));
        hits.scores.push_back(score);
      }
    }
  }

  void write(int64_t t, Hits& hits, int64_t truths, int64_t task) {
    const int64_t own = task * curves_.thresholds + t;
    const double empty = truths > 0 ? 0.0 : -1.0;
    const auto found = truths > 0 ? static_cast<int64_t>(hits.precision.size()) : 0;
    const auto all = static_cast<double>(truths);
    curves_.recall[own] = truths > 0 ? static_cast<double>(found) / all : -1.0;
    for (int64_t i = found - 1; i > 0; --i) {
      hits.precision[i - 1] = std::max(hits.precision[i - 1], hits.precision[i]);
    }
    int64_t k = 0;
    bool ended = truths == 0 || seen_ == 0;
    for (size_t r = 0; r < recalls_.size(); ++r) {
      const double least = recalls_[r];
      if (r > 0 && least < recalls_[r - 1]) {
        k = 0;
      }
      double precision = empty;
      double score = empty;
      if (!ended && least <= 0) {
        precision = found > 0 ? hits.precision[0] : 0.0;
        score = top_;
      } else if (!ended) {
        while (k < found && !(static_cast<double>(k + 1) / all >= least)) {
          ++k;
        }
        ended = k == found;
        precision = ended ? empty : hits.precision[k];
        score = ended ? empty : hits.scores[k];
      }
      const int64_t place = own * curves_.recalls + static_cast<int64_t>(r);
      curves_.precision[place] = precision;
      if (curves_.scores != nullptr) {
        curves_.scores[place] = score;
      }
    }
  }

  const Curves& curves_;
  std::span<const double> recalls_;
  int64_t words_;
  int64_t seen_ = 0;
  double top_ = 0.0;
  std::vector<Hits> hits_;
};

double* curve_data(Tensor& tensor, std::initializer_list<int64_t> shape) {
  require(tensor.scalar_type() == ScalarType::Double &&
              tensor.dim() == static_cast<int64_t>(shape.size()),
          "curves must be float64 [K, A, M, T, R], recall without R.");
  int64_t axis = 0;
  for (const int64_t size : shape) {
    require(tensor.size(axis++) == size, "curves must have matching sizes.");
  }
  return state_data<double>(tensor);
}

void match_curves_cpu(Tensor precision, Tensor recall, std::optional<Tensor> confidences,
                      const Tensor& rows, const Tensor& classes, std::vector<double> recalls,
                      std::vector<int64_t> max_dets, bool by_class) {
  require(rows.scalar_type() == ScalarType::Long && rows.dim() == 2 && rows.is_contiguous() &&
              classes.scalar_type() == ScalarType::Long && classes.dim() == 1 &&
              classes.is_contiguous() && recall.dim() == 4,
          "`rows` must be int64 [N, W], `classes` int64 [K] and `recall` [K, A, M, T].");
  Curves curves{};
  curves.thresholds = recall.size(3);
  curves.recalls = static_cast<int64_t>(recalls.size());
  curves.classes = by_class ? classes.size(0) : 1;
  curves.ranges = recall.size(1);
  curves.limits = static_cast<int64_t>(max_dets.size());
  const auto [t, r, k, a, m, p, q, s] = curves;
  const int64_t words = (t * a + 63) / 64;
  require(rows.size(1) == kBits + 2 * words && a <= 64, "`rows` must have columns for all bits.");
  curves.precision = curve_data(precision, {k, a, m, t, r});
  curves.recall = curve_data(recall, {k, a, m, t});
  curves.scores = confidences ? curve_data(*confidences, {k, a, m, t, r}) : nullptr;
  const auto* labels = static_cast<const int64_t*>(classes.const_data_ptr());
  const auto* table = static_cast<const int64_t*>(rows.const_data_ptr());
  const int64_t one = 0;
  const Classes sorted(table, rows.size(0), rows.size(1),
                       std::span(by_class ? labels : &one, static_cast<size_t>(k)), a, by_class);
  const int64_t tasks = k * a * m;
  const int64_t workers = std::clamp(rows.size(0) / kRowsPerWorker, int64_t{1}, num_threads());
  for_parts(std::min(workers, std::max<int64_t>(tasks, 1)), [&](int64_t part) {
    Walk walk(curves, recalls, words);
    for (int64_t task = part; task < tasks; task += workers) {
      const int64_t range = task / m % a;
      const int64_t label = task / (m * a);
      walk.run(sorted.rows[label], sorted.truths[label * a + range], max_dets[task % m], range,
               task);
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<match_curves_cpu>(library, "match_curves_");
}

}  // namespace fastmetrics
