// fastmetrics._C: importing it registers the CPU kernels over tensors; what it exports is build
// information and kernels over strings.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "direct.h"
#include "simd.h"
#include "strings.h"

namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

bool sanitized() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return false;
#endif
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Compiled CPU kernels of fastmetrics.";
  module.def("compiler", &compiler, "Compiler and version.");
  module.def("sanitized", &sanitized, "Whether this is a sanitizer build.");
  module.def(
      "simd_level", [] { return fastmetrics::simd_name(fastmetrics::simd_level()); },
      "Instruction set chosen when the module was loaded.");
  fastmetrics::bind_direct(module);
  fastmetrics::bind_chrf(module);
  fastmetrics::bind_edits(module);
  fastmetrics::bind_extended_edits(module);
  fastmetrics::bind_ngrams(module);
  fastmetrics::bind_rouge(module);
  fastmetrics::bind_shifts(module);
}
