// top_samples_ and merge_top_samples_: the samples with the highest and the lowest scores.
//
// A vector loop looks for scores that reach the k best or worst so far; only these, few after the
// first batches, go into the heaps. Samples are ordered by score and id, so neither the order in
// which they come nor the number of threads shows in the result.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "op.h"
#include "parallel.h"
#include "reals.h"
#include "simd.h"

namespace fastmetrics {

// Whether one of the scores is at least `high`, at most `low`, or NaN.
using ReachesTop = bool (*)(const double* scores, int64_t count, double high, double low);

}  // namespace fastmetrics

#define FM_KERNELS "top_samples.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kBuffer = 512;  // scores converted at a time
constexpr int64_t kGroup = 64;    // scores looked at together

struct Sample {
  double score;
  int64_t id;
};

// The first k samples in the order of one side: by score, then by lower id.
class Top {
 public:
  Top(int64_t k, bool highest) : k_(static_cast<size_t>(k)), highest_(highest) {
    samples_.reserve(k_);
  }

  void add(const Sample& sample) {
    const auto order = before();
    if (samples_.size() < k_) {
      samples_.push_back(sample);
      std::push_heap(samples_.begin(), samples_.end(), order);
    } else if (k_ > 0 && order(sample, samples_.front())) {
      std::pop_heap(samples_.begin(), samples_.end(), order);
      samples_.back() = sample;
      std::push_heap(samples_.begin(), samples_.end(), order);
    }
  }

  void add(const Top& other) {
    for (const Sample& sample : other.samples_) {
      add(sample);
    }
  }

  // A score short of this cannot be among the first k.
  double limit() const {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const bool open = samples_.size() < k_;
    return !open && k_ > 0 ? samples_.front().score : (highest_ == open ? -kInfinity : kInfinity);
  }

  std::vector<Sample> sorted() const {
    std::vector<Sample> samples = samples_;
    std::sort_heap(samples.begin(), samples.end(), before());
    return samples;
  }

 private:
  struct Before {
    bool highest;
    bool operator()(const Sample& a, const Sample& b) const {
      if (a.score != b.score) {
        return highest ? a.score > b.score : a.score < b.score;
      }
      return a.id < b.id;
    }
  };
  Before before() const { return Before{highest_}; }

  size_t k_;
  bool highest_;
  std::vector<Sample> samples_;  // a heap with the last of the first k in front
};

// Both sides.
struct Tops {
  Top best;
  Top worst;
  int64_t nans = 0;

  explicit Tops(int64_t k) : best(k, true), worst(k, false) {}

  void add(const Tops& other) {
    best.add(other.best);
    worst.add(other.worst);
    nans += other.nans;
  }
};

// [3, 2, k]: fastmetrics/ops/top_samples.py describes it.
void read_state(const int64_t* state, int64_t k, Tops& tops) {
  for (int64_t side = 0; side < 2; ++side) {
    const int64_t* present = state + side * k;
    for (int64_t i = 0; i < k && present[i] != 0; ++i) {
      const double score = std::bit_cast<double>(present[2 * k + i]);
      (side == 0 ? tops.best : tops.worst).add(Sample{score, present[4 * k + i]});
    }
  }
}

void write_state(const Tops& tops, int64_t k, int64_t* state) {
  for (int64_t side = 0; side < 2; ++side) {
    const std::vector<Sample> samples = (side == 0 ? tops.best : tops.worst).sorted();
    int64_t* present = state + side * k;
    for (size_t i = 0; i < samples.size(); ++i) {
      present[i] = 1;
      present[2 * k + static_cast<int64_t>(i)] = std::bit_cast<int64_t>(samples[i].score);
      present[4 * k + static_cast<int64_t>(i)] = samples[i].id;
    }
  }
}

int64_t state_size(const Tensor& state) {
  require(state.scalar_type() == ScalarType::Long && state.dim() == 3 && state.size(0) == 3 &&
              state.size(1) == 2,
          "the metric state must be int64 [3, 2, k].");
  return state.size(2);
}

// The scores and ids of one batch.
struct Batch {
  const void* scores;
  LoadReals load;
  int64_t stride;
  const int64_t* ids;
  int64_t id_stride;
  int64_t first_id;

  Sample sample(int64_t place, double score) const {
    // Adding zero turns -0.0 into 0.0, which ties with it.
    return Sample{score + 0.0, ids != nullptr ? ids[place * id_stride] : first_id + place};
  }

  void scan(int64_t begin, int64_t end, Tops& tops) const {
    const ReachesTop reaches = FM_PICK(kReachesTop);
    std::array<double, kBuffer> values;
    for (int64_t first = begin; first < end; first += kBuffer) {
      const int64_t count = std::min(kBuffer, end - first);
      load(scores, first * stride, stride, count, values.data());
      for (int64_t group = 0; group < count; group += kGroup) {
        const int64_t size = std::min(kGroup, count - group);
        if (reaches(values.data() + group, size, tops.best.limit(), tops.worst.limit())) {
          add(first + group, values.data() + group, size, tops);
        }
      }
    }
  }

  void add(int64_t first, const double* values, int64_t count, Tops& tops) const {
    for (int64_t i = 0; i < count; ++i) {
      if (std::isnan(values[i])) {
        ++tops.nans;
        continue;
      }
      if (values[i] >= tops.best.limit()) {
        tops.best.add(sample(first + i, values[i]));
      }
      if (values[i] <= tops.worst.limit()) {
        tops.worst.add(sample(first + i, values[i]));
      }
    }
  }
};

void top_samples_cpu(Tensor state, Tensor events, Tensor next_id, const Tensor& scores,
                     const std::optional<Tensor>& ids) {
  const int64_t k = state_size(state);
  int64_t* cells = state_data<int64_t>(state);
  int64_t* event_counts = events_data(events);
  require(next_id.scalar_type() == ScalarType::Long && next_id.numel() == 1,
          "`next_id` must be int64 with one element.");
  int64_t* next = state_data<int64_t>(next_id);
  require(scores.dim() == 1, "`scores` must have shape (N,).");
  const int64_t count = scores.size(0);
  Batch batch{nullptr, load_reals(scores.scalar_type()), scores.stride(0), nullptr, 0, *next};
  if (ids.has_value()) {
    require(ids->dim() == 1 && ids->size(0) == count && ids->scalar_type() == ScalarType::Long,
            "`ids` must be int64, one per score.");
  }
  if (count == 0) {
    return;
  }
  batch.scores = scores.const_data_ptr();
  if (ids.has_value()) {
    batch.ids = static_cast<const int64_t*>(ids->const_data_ptr());
    batch.id_stride = ids->stride(0);
  }
  Tops tops(k);
  read_state(cells, k, tops);
  const Partition partition(count, static_cast<int64_t>(scores.element_size()), 4 * k, true);
  if (partition.parts == 1) {
    batch.scan(0, count, tops);
  } else {
    std::vector<Tops> parts(static_cast<size_t>(partition.parts), Tops(k));
    parts[0] = tops;
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      batch.scan(begin, end, parts[static_cast<size_t>(part)]);
    });
    tops = parts[0];
    for (size_t part = 1; part < parts.size(); ++part) {
      tops.add(parts[part]);
    }
  }
  write_state(tops, k, cells);
  event_counts[kNan] += tops.nans;
  *next += count;
}

void merge_top_samples_cpu(Tensor state, const Tensor& others) {
  const int64_t k = state_size(state);
  int64_t* cells = state_data<int64_t>(state);
  require(others.scalar_type() == ScalarType::Long && others.dim() == 4 && others.size(1) == 3 &&
              others.size(2) == 2 && others.size(3) == k && others.is_contiguous(),
          "`others` must be contiguous int64 [R, 3, 2, k].");
  if (others.numel() == 0) {
    return;
  }
  const int64_t* parts = static_cast<const int64_t*>(others.const_data_ptr());
  Tops tops(k);
  read_state(cells, k, tops);
  for (int64_t part = 0; part < others.size(0); ++part) {
    read_state(parts + part * 6 * k, k, tops);
  }
  write_state(tops, k, cells);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<top_samples_cpu>(library, "top_samples_");
  register_op<merge_top_samples_cpu>(library, "merge_top_samples_");
}

}  // namespace fastmetrics
