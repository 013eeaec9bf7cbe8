// Extended edit distance: edits of characters, with jumps to any place at a blank.
//
// A table of costs, one row for each character of the reference and one column for each place in
// the prediction, of which the last row is kept. How often each place was the cheapest of a row
// measures what of the prediction was looked at too often. Sums are in float64 and in the order of
// the definition, so that ties fall as they do there. Samples go to threads, each with its own
// result.
#include <pybind11/stl.h>

#include <limits>

#include "strings.h"

namespace fastmetrics {
namespace {

constexpr int64_t kColumns = 2;  // fastmetrics/ops/extended_edits.py names them

struct Costs {
  double alpha, rho, deletion, insertion;
};

class Scorer {
 public:
  explicit Scorer(const Costs& costs) : costs_(costs) {}

  double score(const Text& prediction, const Text& reference) {
    return with_points(prediction, [&](const auto* preds) {
      return with_points(reference, [&](const auto* target) {
        return score(preds, prediction.size, target, reference.size);
      });
    });
  }

 private:
  template <class P, class T>
  double score(const P* preds, int64_t places, const T* target, int64_t length) {
    const auto size = static_cast<size_t>(places + 1);
    visits_.assign(size, -1);
    row_.assign(size, 1.0);
    row_[0] = 0.0;
    next_.resize(size);
    for (int64_t j = 0; j < length; ++j) {
      next_[0] = row_[0] + 1.0;
      double lowest = next_[0];
      size_t at = 0;
      for (size_t i = 1; i < size; ++i) {
        const double changed = preds[i - 1] == target[j] ? 0.0 : 1.0;
        next_[i] = std::min(std::min(next_[i - 1] + costs_.deletion, row_[i - 1] + changed),
                            row_[i] + costs_.insertion);
        if (next_[i] < lowest) {
          lowest = next_[i];
          at = i;
        }
      }
      ++visits_[at];
      if (target[j] == ' ') {
        const double jump = costs_.alpha + lowest;
        for (double& cost : next_) {
          cost = std::min(cost, jump);
        }
      }
      row_.swap(next_);
    }
    int64_t looks = 0;
    for (const int64_t visit : visits_) {
      looks += visit >= 0 ? visit : 1;
    }
    const double coverage = costs_.rho * static_cast<double>(looks);
    return std::min(1.0, (row_.back() + coverage) / (static_cast<double>(length) + coverage));
  }

  Costs costs_;
  std::vector<int64_t> visits_;
  std::vector<double> row_, next_;
};

void extended_rows(uintptr_t address, const pybind11::sequence& preds_in,
                   const pybind11::sequence& references_in, const std::vector<int64_t>& firsts,
                   double alpha, double rho, double deletion, double insertion) {
  const Texts preds(preds_in), references(references_in);
  if (static_cast<int64_t>(firsts.size()) != preds.size() + 1 ||
      firsts.back() != references.size()) {
    throw std::invalid_argument("references do not belong to predictions");
  }
  int64_t work = 0;
  for (int64_t i = 0; i < preds.size(); ++i) {
    for (int64_t r = firsts[static_cast<size_t>(i)]; r < firsts[static_cast<size_t>(i + 1)]; ++r) {
      work += 3 * preds[i].size * references[r].size;
    }
  }
  auto* rows = reinterpret_cast<double*>(address);
  each_text(preds.size(), work, [&](int64_t begin, int64_t end) {
    Scorer scorer({.alpha = alpha, .rho = rho, .deletion = deletion, .insertion = insertion});
    for (int64_t i = begin; i < end; ++i) {
      double best = std::numeric_limits<double>::infinity();
      for (int64_t r = firsts[static_cast<size_t>(i)]; r < firsts[static_cast<size_t>(i + 1)];
           ++r) {
        best = std::min(best, scorer.score(preds[i], references[r]));
      }
      rows[i * kColumns] = best;
      rows[i * kColumns + 1] = 1.0;
    }
  });
}

}  // namespace

void bind_extended_edits(pybind11::module_& module) {
  module.def("extended_rows", &extended_rows, "Extended edit distances.");
}

}  // namespace fastmetrics
