// The jobs of the families that can be fused; each is made in the file of its family.
#pragma once

#include "job.h"

namespace fastmetrics {

using OptionalTensor = std::optional<Tensor>;
using OptionalInt = std::optional<int64_t>;

// The largest softmax probability of each position of a block, which one job leaves for another
// that adds the same block after it.
struct TopProbs {
  struct Part {
    int64_t begin = 0;
    std::vector<float> probs;
  };
  bool wanted = false;
  std::vector<Part> parts;  // none if nobody writes them
};

// What every update of a batch reads.
struct Inputs {
  const Tensor& preds;
  const Tensor& target;
  const OptionalTensor& weight;
  TopProbs* top_probs = nullptr;  // null for a job alone
};

std::unique_ptr<Job> stat_scores_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                     int64_t num_classes, int64_t top_k, OptionalInt ignore_index,
                                     bool validate);

std::unique_ptr<Job> confusion_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                   OptionalInt ignore_index, bool validate);

std::unique_ptr<Job> label_confusion_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                         const OptionalTensor& groups, double threshold,
                                         bool logits, OptionalInt ignore_index, bool validate);

std::unique_ptr<Job> score_histogram_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                         const Tensor& edges, bool uniform, bool multiclass,
                                         bool logits, OptionalInt ignore_index, bool validate);

std::unique_ptr<Job> calibration_bins_job(Tensor& state, Tensor& events, const Inputs& inputs,
                                          const Tensor& edges, int64_t num_classes, bool logits,
                                          OptionalInt ignore_index, bool validate);

// One of the updates of error sums that share a job.
struct ErrorUpdate {
  Tensor state;
  int64_t terms;
  double p;
  double power;
};

// All states must have as many rows.
std::unique_ptr<Job> error_sums_job(std::span<const ErrorUpdate> updates, const Inputs& inputs);

std::unique_ptr<Job> co_moments_job(Tensor& state, const Inputs& inputs);

}  // namespace fastmetrics
