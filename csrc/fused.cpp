// fused_: several statistics of one batch in one walk over it; all of their states change, or none.
#include <algorithm>
#include <bit>

#include "jobs.h"

namespace fastmetrics {
namespace {

// What all jobs take before the next block is read; it stays in the cache meanwhile.
inline constexpr int64_t kBytesPerBlock = 64 * 1024;
inline constexpr int64_t kLeastUnits = 64;

// Codes of the families; FAMILIES in fastmetrics/ops/fused.py lists their arguments.
enum Family : int64_t {
  kStatScores,
  kConfusion,
  kLabelConfusion,
  kScoreHistogram,
  kCalibrationBins,
  kErrorSums,
  kCoMoments,
};

// A list of arguments that is read in order.
template <class T>
class Reader {
 public:
  explicit Reader(std::vector<T>& items) : items_(items) {}

  bool at_end() const { return next_ == items_.size(); }
  T& next() {
    require(!at_end(), "the lists of fused_ do not fit each other.");
    return items_[next_++];
  }

 private:
  std::vector<T>& items_;
  size_t next_ = 0;
};

// Makes the jobs of a program.
class Program {
 public:
  Program(std::vector<Tensor>& states, std::vector<Tensor>& events, std::vector<Tensor>& edges,
          std::vector<int64_t>& program, std::vector<double>& numbers)
      : states_(states), events_(events), edges_(edges), program_(program), numbers_(numbers) {}

  std::vector<std::unique_ptr<Job>> jobs(const Inputs& inputs) {
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<ErrorUpdate> errors;
    while (!program_.at_end()) {
      const int64_t family = program_.next();
      Tensor& state = states_.next();
      if (family == kErrorSums) {
        errors.push_back(error_update(state));
      } else if (family == kScoreHistogram) {  // first: it leaves probabilities for others
        jobs.insert(jobs.begin(), job(family, state, inputs));
      } else {
        jobs.push_back(job(family, state, inputs));
      }
    }
    require(states_.at_end() && events_.at_end() && edges_.at_end() && numbers_.at_end(),
            "the lists of fused_ do not fit each other.");
    merge(errors, inputs, jobs);
    return jobs;
  }

 private:
  std::unique_ptr<Job> job(int64_t family, Tensor& state, const Inputs& inputs) {
    if (family == kCoMoments) {
      return co_moments_job(state, inputs);
    }
    Tensor& events = events_.next();
    switch (family) {
      case kStatScores: {
        const int64_t num_classes = program_.next();
        const int64_t top_k = program_.next();
        const OptionalInt ignore_index = optional();
        return stat_scores_job(state, events, inputs, num_classes, top_k, ignore_index, flag());
      }
      case kConfusion: {
        const OptionalInt ignore_index = optional();
        return confusion_job(state, events, inputs, ignore_index, flag());
      }
      case kLabelConfusion: {
        const double threshold = numbers_.next();
        const bool logits = flag();
        const OptionalInt ignore_index = optional();
        return label_confusion_job(state, events, inputs, kNoGroups, threshold, logits,
                                   ignore_index, flag());
      }
      case kScoreHistogram: {
        const bool uniform = flag();
        const bool multiclass = flag();
        const bool logits = flag();
        const OptionalInt ignore_index = optional();
        return score_histogram_job(state, events, inputs, edges_.next(), uniform, multiclass,
                                   logits, ignore_index, flag());
      }
      case kCalibrationBins: {
        const int64_t num_classes = program_.next();
        const bool logits = flag();
        const OptionalInt ignore_index = optional();
        return calibration_bins_job(state, events, inputs, edges_.next(), num_classes, logits,
                                    ignore_index, flag());
      }
      default:
        throw std::invalid_argument("fused_ does not know this family.");
    }
  }

  ErrorUpdate error_update(Tensor& state) {
    const int64_t terms = program_.next();
    const double p = numbers_.next();
    return {state, terms, p, numbers_.next()};
  }

  // Errors of as many outputs are one job: every pair is converted once.
  static void merge(std::vector<ErrorUpdate>& updates, const Inputs& inputs,
                    std::vector<std::unique_ptr<Job>>& jobs) {
    auto first = updates.begin();
    while (first != updates.end()) {
      const int64_t outputs = first->state.size(0);
      const auto last = std::stable_partition(first, updates.end(), [&](const ErrorUpdate& update) {
        return update.state.size(0) == outputs;
      });
      jobs.push_back(error_sums_job(std::span(first, last), inputs));
      first = last;
    }
  }

  bool flag() { return program_.next() != 0; }
  OptionalInt optional() {
    const bool given = flag();
    const int64_t value = program_.next();
    return given ? OptionalInt(value) : std::nullopt;
  }

  static inline const OptionalTensor kNoGroups;

  Reader<Tensor> states_;
  Reader<Tensor> events_;
  Reader<Tensor> edges_;
  Reader<int64_t> program_;
  Reader<double> numbers_;
};

// Adds the batch to jobs of as many units, block by block.
void walk(std::span<const std::unique_ptr<Job>> jobs) {
  Extent all = jobs.front()->extent();
  for (const auto& job : jobs.subspan(1)) {
    const Extent own = job->extent();
    all.bytes_per_unit = std::max(all.bytes_per_unit, own.bytes_per_unit);
    all.scratch_bytes += own.scratch_bytes;
    all.exact = all.exact && own.exact;
  }
  const Partition partition = all.partition();
  for (const auto& job : jobs) {
    job->open(partition);
  }
  const auto fitting = static_cast<uint64_t>(kBytesPerBlock / all.bytes_per_unit);
  const int64_t block = std::max(kLeastUnits, static_cast<int64_t>(std::bit_floor(fitting)));
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += block) {
      for (const auto& job : jobs) {
        job->add(part, first, std::min(end, first + block));
      }
    }
  });
}

void fused_cpu(std::vector<Tensor> states, std::vector<Tensor> events, std::vector<Tensor> edges,
               const Tensor& preds, const Tensor& target, const OptionalTensor& weight,
               std::vector<int64_t> program, std::vector<double> numbers) {
  TopProbs top_probs;
  std::vector<std::unique_ptr<Job>> jobs =
      Program(states, events, edges, program, numbers).jobs({preds, target, weight, &top_probs});
  const auto units = [](const auto& job) { return job->extent().units; };
  std::erase_if(jobs, [&](const auto& job) { return units(job) == 0; });
  std::ranges::stable_sort(jobs, {}, units);
  for (auto first = jobs.begin(); first != jobs.end();) {
    const auto last = std::ranges::upper_bound(first, jobs.end(), units(*first), {}, units);
    walk(std::span(first, last));
    first = last;
  }
  for (const auto& job : jobs) {
    job->check();
  }
  for (const auto& job : jobs) {
    job->commit();
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  library.impl("fused_", TORCH_BOX(&fused_cpu));
}

}  // namespace fastmetrics
