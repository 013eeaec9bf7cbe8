// The `weight` argument: one number per sample in any real dtype, or nothing.
#pragma once

#include <algorithm>

#include "reals.h"

namespace fastmetrics {

// A weight that is NaN, negative or above 1e100 counts as 0, and is counted itself.
class Weights {
 public:
  Weights() = default;  // none
  Weights(const std::optional<Tensor>& weight, int64_t num_samples, const Tensor& state);

  explicit operator bool() const { return data_ != nullptr; }

  // Writes the weights of units [begin, end), of which a sample has `per_sample`. Returns how many
  // of the samples that begin there have a bad one.
  int64_t read(int64_t begin, int64_t end, int64_t per_sample, double* weights) const;

  // The same for sums that must not hide a bad weight: it is NaN.
  void read_or_nan(int64_t begin, int64_t end, int64_t per_sample, double* weights) const;

 private:
  // Loads the weights of the samples of these units one after the other; returns the first sample.
  int64_t load(int64_t begin, int64_t end, int64_t per_sample, double* weights) const;

  const void* data_ = nullptr;
  int64_t stride_ = 0;
  LoadReals load_ = nullptr;
};

// The weights of units that are asked for in ascending order up to `end`, many read at a time.
class WeightsInOrder {
 public:
  WeightsInOrder(const Weights& weights, int64_t end, int64_t per_sample)
      : weights_(weights), end_(end), per_sample_(per_sample) {}

  // 1 without weights. Adds the bad ones to `bad`.
  double at(int64_t unit, int64_t& bad) {
    if (!weights_) {
      return 1.0;
    }
    if (unit >= stop_) {
      first_ = unit;
      stop_ = std::min(end_, unit + static_cast<int64_t>(read_.size()));
      bad += weights_.read(first_, stop_, per_sample_, read_.data());
    }
    return read_[unit - first_];
  }

 private:
  const Weights& weights_;
  int64_t end_;
  int64_t per_sample_;
  int64_t first_ = 0;
  int64_t stop_ = 0;
  std::array<double, 256> read_;
};

// Makes bad weights `instead`, and returns how many there were.
int64_t replace_bad_weights(double* weights, int64_t count, double instead);

// How many weights are negative or infinite.
int64_t count_out_of_range(const double* weights, int64_t count);

}  // namespace fastmetrics
