// The project's view of the libtorch stable ABI: aliases, scalar types, strided geometry, errors.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "tensor.h"

namespace fastmetrics {

// Columns of the `events` tensor; fastmetrics/ops/faults.py documents them.
enum Event : int64_t { kInvalid = 0, kNan = 1, kOutside = 2, kBadWeight = 3 };
inline constexpr int64_t kNumEvents = 4;

// Bit patterns of the 16-bit floats; the kernels compare them through order-preserving integers.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline bool is_score_type(ScalarType type) {
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
         type == ScalarType::BFloat16;
}

inline bool is_label_type(ScalarType type) {
  return type == ScalarType::Long || type == ScalarType::Int || type == ScalarType::Short ||
         type == ScalarType::Char || type == ScalarType::Byte || type == ScalarType::Bool;
}

[[noreturn]] inline void unsupported_dtype(const char* what) {
  throw std::invalid_argument(std::string(what) + " has a dtype that this op does not take.");
}

// Calls f(T{}) with the element type of a score tensor.
template <class F>
auto with_score_type(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(Half{});
    case ScalarType::BFloat16:
      return f(BFloat16{});
    default:
      unsupported_dtype("`preds`");
  }
}

// Calls f(T{}) with the element type of a label tensor.
template <class F>
auto with_label_type(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Long:
      return f(int64_t{});
    case ScalarType::Int:
      return f(int32_t{});
    case ScalarType::Short:
      return f(int16_t{});
    case ScalarType::Char:
      return f(int8_t{});
    case ScalarType::Byte:
    case ScalarType::Bool:
      return f(uint8_t{});
    default:
      unsupported_dtype("a label tensor");
  }
}

// Calls f(T{}) with the element type of what `compute` returns.
template <class F>
void with_result_type(const Tensor& out, F&& f) {
  if (out.scalar_type() == ScalarType::Float) {
    f(float{});
  } else {
    require(out.scalar_type() == ScalarType::Double, "results must be float32 or float64.");
    f(double{});
  }
}

// N; the kernels need an axis of samples.
inline int64_t leading_size(const Tensor& tensor) {
  require(tensor.dim() > 0, "`preds` and `target` need at least one axis.");
  return tensor.size(0);
}

template <class T>
T* state_data(Tensor& tensor) {
  require(tensor.is_contiguous(), "the metric state must be contiguous.");
  return static_cast<T*>(tensor.mutable_data_ptr());
}

inline int64_t* events_data(Tensor& events) {
  require(events.scalar_type() == ScalarType::Long && events.numel() == kNumEvents,
          "`events` must be int64 [4].");
  return state_data<int64_t>(events);
}

// Positions of two tensors walked together: adjacent axes are merged where both allow it.
struct Geometry {
  static constexpr int kMaxAxes = 64;  // as torch has it
  int axes = 0;
  std::array<int64_t, kMaxAxes> size;
  std::array<int64_t, kMaxAxes> stride_a;
  std::array<int64_t, kMaxAxes> stride_b;

  void push(int64_t n, int64_t a, int64_t b) {
    if (n == 1) {
      return;
    }
    if (axes > 0 && stride_a[axes - 1] == a * n && stride_b[axes - 1] == b * n) {
      size[axes - 1] *= n;
      stride_a[axes - 1] = a;
      stride_b[axes - 1] = b;
      return;
    }
    require(axes < kMaxAxes,
            "`preds` and `target` must have at most 64 axes that do not lie behind one another.");
    size[axes] = n;
    stride_a[axes] = a;
    stride_b[axes] = b;
    ++axes;
  }

  int64_t inner_a() const { return axes > 0 ? stride_a[axes - 1] : 1; }
  int64_t inner_b() const { return axes > 0 ? stride_b[axes - 1] : 1; }

  // Calls f(length, offset_a, offset_b) for each run along the innermost axis in [begin, end).
  template <class F>
  void for_runs(int64_t begin, int64_t end, F&& f) const {
    if (axes <= 1) {
      f(end - begin, begin * inner_a(), begin * inner_b());
      return;
    }
    const int64_t inner = size[axes - 1];
    while (begin < end) {
      int64_t rest = begin / inner;
      const int64_t first = begin % inner;
      int64_t offset_a = first * inner_a();
      int64_t offset_b = first * inner_b();
      for (int axis = axes - 2; axis >= 0; --axis) {
        const int64_t index = rest % size[axis];
        rest /= size[axis];
        offset_a += index * stride_a[axis];
        offset_b += index * stride_b[axis];
      }
      const int64_t length = std::min(inner - first, end - begin);
      f(length, offset_a, offset_b);
      begin += length;
    }
  }
};

}  // namespace fastmetrics
