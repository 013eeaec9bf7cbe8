#include "weights.h"

#include <limits>

#include "simd.h"

#define FM_KERNELS "weights.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

// Repeats what was loaded for each sample over its units. From the last one on, because a unit
// never lies before the place of its sample.
void spread(int64_t first, int64_t begin, int64_t end, int64_t per_sample, double* weights) {
  for (int64_t place = (end - 1) / per_sample - first; per_sample > 1 && place >= 0; --place) {
    const double weight = weights[place];
    const int64_t from = std::max(begin, (first + place) * per_sample);
    const int64_t to = std::min(end, (first + place + 1) * per_sample);
    std::fill(weights + (from - begin), weights + (to - begin), weight);
  }
}

}  // namespace

int64_t replace_bad_weights(double* weights, int64_t count, double instead) {
  return FM_PICK(kReplaceBadWeights)(weights, count, instead);
}

int64_t count_out_of_range(const double* weights, int64_t count) {
  return FM_PICK(kCountOutOfRange)(weights, count);
}

Weights::Weights(const std::optional<Tensor>& weight, int64_t num_samples, const Tensor& state) {
  if (!weight.has_value()) {
    return;
  }
  require(weight->dim() == 1 && weight->size(0) == num_samples,
          "`weight` must have one entry per sample.");
  require(state.scalar_type() == ScalarType::Double, "a weighted update needs a float64 state.");
  const ScalarType type = weight->scalar_type();
  require(is_score_type(type) || is_label_type(type), "`weight` must be a real tensor.");
  data_ = weight->const_data_ptr();
  stride_ = weight->stride(0);
  load_ = load_reals(type);
}

int64_t Weights::load(int64_t begin, int64_t end, int64_t per_sample, double* weights) const {
  const int64_t first = begin / per_sample;
  load_(data_, first * stride_, stride_, (end - 1) / per_sample - first + 1, weights);
  return first;
}

int64_t Weights::read(int64_t begin, int64_t end, int64_t per_sample, double* weights) const {
  if (begin == end) {
    return 0;
  }
  const int64_t first = load(begin, end, per_sample, weights);
  const int64_t loaded = (end - 1) / per_sample - first + 1;
  const int64_t begun_before = begin % per_sample != 0;
  replace_bad_weights(weights, begun_before, 0.0);
  const int64_t bad = replace_bad_weights(weights + begun_before, loaded - begun_before, 0.0);
  spread(first, begin, end, per_sample, weights);
  return bad;
}

void Weights::read_or_nan(int64_t begin, int64_t end, int64_t per_sample, double* weights) const {
  const int64_t first = load(begin, end, per_sample, weights);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  replace_bad_weights(weights, (end - 1) / per_sample - first + 1, nan);
  spread(first, begin, end, per_sample, weights);
}

}  // namespace fastmetrics
