// How the kernel of an op is made known: `register_op<kernel>(library, "name_")`, once for torch's
// dispatcher and once for direct calls. The types of its arguments say what each of them takes.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>
#include <type_traits>

#include "direct.h"

namespace fastmetrics {

using TorchTensor = torch::stable::Tensor;

// What the dispatcher passes for an argument of type T, and the argument.
template <class T>
struct Passed {
  using Type = T;
  static const T& argument(const T& passed) { return passed; }
};
template <>
struct Passed<Tensor> {
  using Type = TorchTensor;
  static Tensor argument(const TorchTensor& passed) {
    return {passed.data_ptr(), passed.sizes().data(), passed.strides().data(),
            passed.dim(),      passed.scalar_type(),  static_cast<int64_t>(passed.element_size())};
  }
};
template <>
struct Passed<std::optional<Tensor>> {
  using Type = std::optional<TorchTensor>;
  static std::optional<Tensor> argument(const Type& passed) {
    return passed ? std::optional(Passed<Tensor>::argument(*passed)) : std::nullopt;
  }
};
template <>
struct Passed<std::vector<Tensor>> {
  using Type = std::vector<TorchTensor>;
  static std::vector<Tensor> argument(const Type& passed) {
    std::vector<Tensor> tensors;
    tensors.reserve(passed.size());
    for (const TorchTensor& tensor : passed) {
      tensors.push_back(Passed<Tensor>::argument(tensor));
    }
    return tensors;
  }
};

template <auto kKernel>
struct Op;

template <class... Args, void (*kKernel)(Args...)>
struct Op<kKernel> {
  static void dispatched(typename Passed<std::decay_t<Args>>::Type... passed) {
    kKernel(Passed<std::decay_t<Args>>::argument(passed)...);
  }

  static bool direct(DirectCall& call) {
    std::tuple<std::decay_t<Args>...> arguments{call.next<std::decay_t<Args>>()...};
    if (!call.start()) {
      return false;
    }
    std::apply(kKernel, std::move(arguments));
    return true;
  }
};

template <auto kKernel>
void register_op(torch::stable::detail::StableLibrary& library, const char* name) {
  library.impl(name, TORCH_BOX((&Op<kKernel>::dispatched)));
  direct_ops().push_back({name, &Op<kKernel>::direct});
}

}  // namespace fastmetrics
