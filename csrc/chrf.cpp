// chrF: matching n-grams of characters and of words, of the best reference of each prediction.
//
// Characters are symbols as they are, words are numbered; both are counted by the same table. The
// references of a prediction are scored one by one, in float64 and in the order in which sacrebleu
// adds, and only the counts of the best go into the row of the sample.
#include <algorithm>

#include "ngrams.h"

namespace fastmetrics {
namespace {

constexpr double kSmallest = 1e-16;  // what a score divides by at least

// Without `whitespace`, as `line.strip().replace(" ", "")`.
void read_characters(const Text& line, bool whitespace, std::vector<uint32_t>& symbols) {
  const Text text = whitespace ? line : stripped(line);
  with_points(text, [&](const auto* points) {
    std::copy_if(points, points + text.size, std::back_inserter(symbols),
                 [&](uint32_t point) { return whitespace || point != ' '; });
  });
}

// The n-grams of one kind, characters or words, of a prediction and its references.
struct Level {
  int64_t orders;
  Sequences sequences;
  std::vector<int64_t> matches;  // row of each reference

  void match(GramCounter& counter) {
    matches.resize(static_cast<size_t>(orders) * (sequences.count() - 1));
    counter.match(sequences, static_cast<size_t>(orders), false, matches.data());
  }

  int64_t matching(size_t reference, int64_t n) const {
    return matches[reference * static_cast<size_t>(orders) + static_cast<size_t>(n) - 1];
  }

  // Sum of the F-scores of all orders.
  double score(size_t reference, double beta_squared) const {
    double sum = 0.0;
    for (int64_t n = 1; n <= orders; ++n) {
      const auto found = static_cast<double>(matching(reference, n));
      if (found == 0.0) {
        continue;
      }
      const double precision = found / static_cast<double>(grams_in(sequences.size_of(0), n));
      const double recall =
          found / static_cast<double>(grams_in(sequences.size_of(reference + 1), n));
      sum += (1.0 + beta_squared) * precision * recall /
             std::max(beta_squared * precision + recall, kSmallest);
    }
    return sum;
  }

  // Grams of the prediction, of the reference, and matching ones, a row of all orders for each.
  void write(double* row, int64_t stride, size_t reference, bool any) const {
    for (int64_t n = 1; n <= orders; ++n) {
      row[n - 1] = static_cast<double>(grams_in(sequences.size_of(0), n));
      row[stride + n - 1] =
          any ? static_cast<double>(grams_in(sequences.size_of(reference + 1), n)) : 0.0;
      row[2 * stride + n - 1] = any ? static_cast<double>(matching(reference, n)) : 0.0;
    }
  }
};

void chrf_rows(uintptr_t address, const pybind11::sequence& preds, const pybind11::sequence& target,
               const std::vector<int64_t>& counts, int64_t char_orders, int64_t word_orders,
               double beta, bool whitespace) {
  const Samples samples(preds, target, counts);
  auto* rows = reinterpret_cast<double*>(address);
  const int64_t orders = char_orders + word_orders;
  each_text(samples.size(), samples.bytes() * 6 * orders, [&](int64_t first, int64_t last) {
    TokenReader reader({Tokenizer::kChrf});
    GramCounter counter;
    Level characters{char_orders, {}, {}}, words{word_orders, {}, {}};
    for (int64_t i = first; i < last; ++i) {
      samples.read(i, reader, words.sequences);
      words.match(counter);
      samples.each(i, characters.sequences, [&](const Text& line, auto& symbols) {
        read_characters(line, whitespace, symbols);
      });
      characters.match(counter);
      double best = 0.0;
      size_t chosen = 0;
      for (size_t reference = 0; reference + 1 < characters.sequences.count(); ++reference) {
        const double score =
            (characters.score(reference, beta * beta) + words.score(reference, beta * beta)) /
            static_cast<double>(orders);
        if (score > best) {
          best = score;
          chosen = reference;
        }
      }
      double* row = rows + i * (3 * orders + 2);
      characters.write(row, orders, chosen, best > 0.0);
      words.write(row + char_orders, orders, chosen, best > 0.0);
      row[3 * orders] = best;
      row[3 * orders + 1] = 1.0;
    }
  });
}

}  // namespace

void bind_chrf(pybind11::module_& module) {
  module.def("chrf_rows", &chrf_rows, "n-grams of characters and words of each sample.");
}

}  // namespace fastmetrics
