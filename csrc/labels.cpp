#include "labels.h"

#include <limits>
#include <string_view>

#include "scores.h"

namespace fastmetrics {
namespace {

template <class T>
FM_INLINE int32_t code_of(T label, int64_t limit, bool has_ignore, int64_t ignore) {
  const int64_t value = static_cast<int64_t>(label);
  const bool inside = static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
  const int32_t code = inside ? static_cast<int32_t>(value) : kBad;
  return has_ignore && value == ignore ? kIgnored : code;
}

template <class T>
FM_INLINE void read_impl(const T* labels, int64_t stride, int64_t count, const LabelRule& rule,
                         int32_t* codes) {
  const int64_t limit = rule.limit;
  const bool has_ignore = rule.ignore.has_value();
  const int64_t ignore = rule.ignore.value_or(0);
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      codes[i] = code_of(labels[i], limit, has_ignore, ignore);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      codes[i] = code_of(labels[i * stride], limit, has_ignore, ignore);
    }
  }
}

#define READ(name, type)                                                                  \
  FM_INLINE void name##_impl(const void* data, int64_t offset, int64_t stride, int64_t n, \
                             const LabelRule& rule, int32_t* codes) {                     \
    read_impl(static_cast<const type*>(data) + offset, stride, n, rule, codes);           \
  }                                                                                       \
  FM_MULTIVERSION(void, name,                                                             \
                  (const void* data, int64_t offset, int64_t stride, int64_t n,           \
                   const LabelRule& rule, int32_t* codes),                                \
                  (data, offset, stride, n, rule, codes))
READ(read_int64, int64_t)
READ(read_int32, int32_t)
READ(read_int16, int16_t)
READ(read_int8, int8_t)
READ(read_uint8, uint8_t)
#undef READ

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

LabelReader::LabelReader(const Tensor& labels, LabelRule rule)
    : data_(labels.const_data_ptr()), rule_(rule) {
  switch (labels.scalar_type()) {
    case ScalarType::Long:
      read_ = read_int64;
      break;
    case ScalarType::Int:
      read_ = read_int32;
      break;
    case ScalarType::Short:
      read_ = read_int16;
      break;
    case ScalarType::Char:
      read_ = read_int8;
      break;
    case ScalarType::Byte:
    case ScalarType::Bool:
      read_ = read_uint8;
      break;
    default:
      unsupported_dtype("a label tensor");
  }
}

void raise_if_bad(const char* op, const LabelArgument& argument, std::optional<int64_t> ignore) {
  const auto found = first_bad(argument, ignore);
  if (!found.has_value()) {
    return;
  }
  // An unknown number of classes leaves only the lower bound.
  std::string text = std::string(op) + ": `" + argument.name + "` must ";
  text += argument.rule.limit == std::numeric_limits<int32_t>::max()
              ? "not be negative"
              : "lie in [0, " + std::to_string(argument.rule.limit) + ")";
  if (ignore.has_value()) {
    text += " or equal ignore_index=" + std::to_string(*ignore);
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

double Weights::operator[](int64_t sample) const {
  const int64_t i = sample * stride_;
  switch (type_) {
    case ScalarType::Double:
      return static_cast<const double*>(data_)[i];
    case ScalarType::Float:
      return static_cast<const float*>(data_)[i];
    case ScalarType::Long:
      return static_cast<double>(static_cast<const int64_t*>(data_)[i]);
    case ScalarType::Int:
      return static_cast<const int32_t*>(data_)[i];
    case ScalarType::Short:
      return static_cast<const int16_t*>(data_)[i];
    case ScalarType::Char:
      return static_cast<const int8_t*>(data_)[i];
    case ScalarType::Byte:
    case ScalarType::Bool:
      return static_cast<const uint8_t*>(data_)[i];
    case ScalarType::Half:
      return Score<Half>::value(static_cast<const Half*>(data_)[i]);
    case ScalarType::BFloat16:
      return Score<BFloat16>::value(static_cast<const BFloat16*>(data_)[i]);
    default:
      unsupported_dtype("`weight`");
  }
}

}  // namespace fastmetrics
