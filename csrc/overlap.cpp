// overlap_sums_: what the scores of images add up to, from counts of each image and class.
//
// Images times classes are few beside the pixels that were counted, so one thread walks over them
// once. The scores of an image are sums over its classes; sums over images are made apart and added
// to the state at the end.
#include <initializer_list>
#include <vector>

#include "op.h"
#include "stable.h"

namespace fastmetrics {
namespace {

// Types of weights of a class: by its squared number of pixels, by that number, all equal.
constexpr int64_t kWeightTypes = 3;

// The generalized Dice score of one image, by type of weights.
struct Generalized {
  std::array<double, kWeightTypes> common{};
  std::array<double, kWeightTypes> both{};

  void add(double tp, double preds, double target) {
    const double inverse = target > 0 ? 1 / target : 0;
    const std::array<double, kWeightTypes> weights{target > 0 ? 1 / (target * target) : 0, inverse,
                                                   1};
    for (int64_t type = 0; type < kWeightTypes; ++type) {
      common[type] += weights[type] * tp;
      both[type] += weights[type] * (preds + target);
    }
  }

  void add_scores_to(double* sums) const {
    for (int64_t type = 0; type < kWeightTypes; ++type) {
      sums[type] += both[type] != 0 ? 2 * common[type] / both[type] : 0;
    }
  }
};

template <class T>
T* sums_data(Tensor& tensor, ScalarType type, std::initializer_list<int64_t> shape) {
  bool fits = tensor.scalar_type() == type && tensor.dim() == static_cast<int64_t>(shape.size());
  int64_t axis = 0;
  for (const int64_t size : shape) {
    fits = fits && tensor.size(axis++) == size;
  }
  require(fits, "the sums of overlap_sums_ must be float64 or int64 of their shapes.");
  return state_data<T>(tensor);
}

void overlap_sums_cpu(std::vector<Tensor> states, const Tensor& counts) {
  require(counts.scalar_type() == ScalarType::Long && counts.dim() == 3 && counts.size(2) == 4,
          "`counts` must be int64 [N, C, 4].");
  require(states.size() == 5, "`states` must be iou, present, dice, generalized and images.");
  const int64_t classes = counts.size(1);
  auto* ious = sums_data<double>(states[0], ScalarType::Double, {classes});
  auto* presents = sums_data<int64_t>(states[1], ScalarType::Long, {classes});
  auto* dices = sums_data<double>(states[2], ScalarType::Double, {classes});
  auto* scores = sums_data<double>(states[3], ScalarType::Double, {2, kWeightTypes});
  auto* num_images = sums_data<int64_t>(states[4], ScalarType::Long, {});
  const auto* data = static_cast<const int64_t*>(counts.const_data_ptr());
  const int64_t column = counts.stride(2);

  std::vector<double> of_classes(2 * classes);
  std::array<double, 2 * kWeightTypes> of_images{};
  for (int64_t image = 0; image < counts.size(0); ++image) {
    Generalized all;
    Generalized foreground;
    for (int64_t c = 0; c < classes; ++c) {
      const int64_t* row = data + image * counts.stride(0) + c * counts.stride(1);
      const auto tp = static_cast<double>(row[0]);
      const double preds = tp + static_cast<double>(row[column]);
      const double target = tp + static_cast<double>(row[3 * column]);
      if (preds + target > 0) {
        of_classes[2 * c] += tp / (preds + target - tp);
        of_classes[2 * c + 1] += 2 * tp / (preds + target);
        ++presents[c];
      }
      all.add(tp, preds, target);
      if (c > 0 || classes == 1) {  // class 0 counts where it is alone
        foreground.add(tp, preds, target);
      }
    }
    all.add_scores_to(of_images.data());
    foreground.add_scores_to(of_images.data() + kWeightTypes);
  }
  for (int64_t c = 0; c < classes; ++c) {
    ious[c] += of_classes[2 * c];
    dices[c] += of_classes[2 * c + 1];
  }
  for (int64_t i = 0; i < 2 * kWeightTypes; ++i) {
    scores[i] += of_images[i];
  }
  *num_images += counts.size(0);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<overlap_sums_cpu>(library, "overlap_sums_");
}

}  // namespace fastmetrics
