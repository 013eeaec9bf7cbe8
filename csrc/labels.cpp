#include "labels.h"

#include <limits>
#include <string_view>

#include "scores.h"

#define FM_KERNELS "labels.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

struct Found {
  int64_t position;
  int64_t value;
};

int64_t value_at(const Tensor& tensor, int64_t position) {
  int64_t offset = 0;
  for (int64_t axis = tensor.dim() - 1; axis >= 0; --axis) {
    offset += position % tensor.size(axis) * tensor.stride(axis);
    position /= tensor.size(axis);
  }
  return with_label_type(tensor.scalar_type(), [&](auto type) {
    return static_cast<int64_t>(
        static_cast<const decltype(type)*>(tensor.const_data_ptr())[offset]);
  });
}

std::optional<Found> first_bad(const LabelArgument& argument, std::optional<int64_t> ignore) {
  const int64_t count = argument.tensor.numel();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = value_at(argument.tensor, i);
    const bool inside = static_cast<uint64_t>(value) < static_cast<uint64_t>(argument.rule.limit);
    const bool ignored = (argument.rule.ignore.has_value() && value == *argument.rule.ignore) ||
                         (argument.unless_ignored != nullptr && ignore.has_value() &&
                          value_at(*argument.unless_ignored, i) == *ignore);
    if (!inside && !ignored) {
      return Found{i, value};
    }
  }
  return std::nullopt;
}

}  // namespace

const PairKernels& pair_kernels() {
  static const PairKernels& kernels = FM_PICK(kPairs);
  return kernels;
}

LabelReader::LabelReader(const Tensor& labels, LabelRule rule)
    : data_(labels.const_data_ptr()), rule_(rule) {
  read_ = with_label_type(labels.scalar_type(),
                          [](auto type) { return FM_PICK(kReadLabels<decltype(type)>); });
}

void raise_if_bad(const char* op, const LabelArgument& argument, std::optional<int64_t> ignore) {
  const auto found = first_bad(argument, ignore);
  if (!found.has_value()) {
    return;
  }
  std::string text = std::string(op) + ": `" + argument.name + "` must lie in [0, " +
                     std::to_string(argument.rule.limit) + ")";
  if (argument.rule.ignore.has_value()) {
    text += " or equal ignore_index=" + std::to_string(*argument.rule.ignore);
  }
  text += ", got " + std::to_string(found->value) + " at flat index " +
          std::to_string(found->position) + ".";
  throw std::runtime_error(text);
}

void raise_first_bad(const char* op, std::span<const LabelArgument> arguments,
                     std::optional<int64_t> ignore) {
  for (const LabelArgument& argument : arguments) {
    raise_if_bad(op, argument, ignore);
  }
  throw std::runtime_error(std::string(op) + ": the labels changed while they were read.");
}

}  // namespace fastmetrics
