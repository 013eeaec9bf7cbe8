// argmax over the class axis, as torch.argmax: the first of equals, NaN above everything.
#pragma once

#include "stable.h"

namespace fastmetrics {

// Where the scores of a run of positions lie, in elements.
struct ScoreRun {
  int64_t position_stride;
  int64_t class_stride;
  int64_t num_classes;
};

// The kernels of one score type; `scores` is the tensor's data, `offset` the run's first element.
struct ArgmaxKernels {
  bool (*argmax)(const void* scores, int64_t offset, const ScoreRun& run, int64_t count,
                 int32_t* best_class, uint8_t* nan);
  void (*prefer_target)(const void* scores, int64_t offset, const ScoreRun& run, int64_t count,
                        const int32_t* target, int64_t top_k, int32_t* best_class);
};

const ArgmaxKernels& argmax_kernels(ScalarType type);

}  // namespace fastmetrics
