// ROUGE-N, ROUGE-L and ROUGE-Lsum of each sample.
//
// All words of a sample, of whole texts and of their sentences, are numbered by one vocabulary.
// ROUGE-N are matching n-grams (ngrams.h), ROUGE-L is the bit-parallel length of the longest common
// subsequence (edits.h). ROUGE-Lsum asks which words of a sentence of the reference are in such a
// subsequence, one of many, with each sentence of the prediction; the table that says so is kept as
// bits, a row of them for each word of the reference, and walked back from its end.
//
// Scores are worked out in float64. The best reference is the first of those that are best in
// float32, in which torchmetrics compares.
#include <algorithm>
#include <bit>
#include <string>

#include "edits.h"
#include "ngrams.h"

namespace fastmetrics {
namespace {

// What is scored, besides n-grams of some order.
constexpr int64_t kSubsequence = 0;
constexpr int64_t kSummary = -1;

struct Score {
  double fmeasure = 0.0, precision = 0.0, recall = 0.0;
};

Score score_of(int64_t hits, int64_t preds, int64_t target) {
  if (hits == 0 || preds == 0 || target == 0) {
    return {};
  }
  const double precision = static_cast<double>(hits) / static_cast<double>(preds);
  const double recall = static_cast<double>(hits) / static_cast<double>(target);
  return {2.0 * precision * recall / (precision + recall), precision, recall};
}

// Words of sentences of the reference that are in the prediction, too.
class UnionOfSubsequences {
 public:
  // Symbols are below `symbols`. The first `split` of the sentences are those of the prediction.
  int64_t hits(const Sequences& sentences, size_t split, size_t from, size_t to, size_t symbols) {
    preds_.assign(symbols, 0);
    target_.assign(symbols, 0);
    for (size_t i = 0; i < split; ++i) {
      count(sentences[i], preds_);
    }
    for (size_t i = from; i < to; ++i) {
      count(sentences[i], target_);
    }
    int64_t hits = 0;
    for (size_t i = from; i < to; ++i) {
      const std::span<const uint32_t> target = sentences[i];
      inside_.assign(target.size(), false);
      for (size_t j = 0; j < split; ++j) {
        mark(sentences[j], target, symbols);
      }
      for (size_t k = 0; k < target.size(); ++k) {
        uint32_t& left = preds_[target[k]];
        uint32_t& right = target_[target[k]];
        if (inside_[k] && left > 0 && right > 0) {
          ++hits;
          --left;
          --right;
        }
      }
    }
    return hits;
  }

 private:
  static void count(std::span<const uint32_t> words, std::vector<uint32_t>& counts) {
    for (const uint32_t word : words) {
      ++counts[word];
    }
  }

  // Bit i of row j is 0 where the common length of i + 1 words of `preds` and j of `target` is more
  // than that of i words.
  void fill(std::span<const uint32_t> preds, std::span<const uint32_t> target, size_t symbols) {
    blocks_ = (preds.size() + 63) / 64;
    rows_.assign((target.size() + 1) * blocks_, ~uint64_t{0});
    carries_.assign(target.size(), 0);
    uint64_t* masks = scratch_.masks(symbols);
    for (size_t block = 0; block < blocks_; ++block) {
      const auto words = preds.subspan(64 * block, std::min<size_t>(64, preds.size() - 64 * block));
      for (size_t i = 0; i < words.size(); ++i) {
        masks[words[i]] |= uint64_t{1} << i;
      }
      for (size_t j = 0; j < target.size(); ++j) {
        const uint64_t row = rows_[j * blocks_ + block];
        const uint64_t matches = row & masks[target[j]];
        uint64_t sum = row + matches;
        uint8_t carry = sum < row;
        sum += carries_[j];
        carry |= sum < carries_[j];
        carries_[j] = carry;
        rows_[(j + 1) * blocks_ + block] = sum | (row - matches);
      }
      for (const uint32_t word : words) {
        masks[word] = 0;
      }
    }
  }

  // The common length of `i` words of the prediction and `j` of the reference.
  int64_t length(size_t i, size_t j) const {
    const uint64_t* row = rows_.data() + j * blocks_;
    int64_t length = 0;
    for (size_t block = 0; block < i / 64; ++block) {
      length += std::popcount(~row[block]);
    }
    const uint64_t rest = (uint64_t{1} << i % 64) - 1;
    return i % 64 == 0 ? length : length + std::popcount(~row[i / 64] & rest);
  }

  // Marks the words of `target` in the subsequence that the walk of rouge-score finds: from the
  // end, along equal words, else to where the length is kept, and to the shorter reference if both
  // do.
  void mark(std::span<const uint32_t> preds, std::span<const uint32_t> target, size_t symbols) {
    fill(preds, target, symbols);
    size_t i = preds.size(), j = target.size();
    while (i > 0 && j > 0) {
      if (preds[i - 1] == target[j - 1]) {
        inside_[j - 1] = true;
        --i;
        --j;
      } else if (length(i - 1, j) > length(i, j - 1)) {
        --i;
      } else {
        --j;
      }
    }
  }

  std::vector<uint32_t> preds_, target_;  // how often a word is left
  std::vector<char> inside_;
  std::vector<uint64_t> rows_;
  std::vector<uint8_t> carries_;
  size_t blocks_ = 0;
  EditScratch scratch_;
};

// The texts of a batch in sentences: those of each prediction, and of each reference.
class Sentences {
 public:
  Sentences(const pybind11::sequence& sentences, const std::vector<int64_t>& counts)
      : sentences_(sentences), starts_(starts_of(counts)) {
    if (starts_.back() != sentences_.size()) {
      throw std::invalid_argument("the numbers of sentences do not fit");
    }
  }

  int64_t size() const { return static_cast<int64_t>(starts_.size()) - 1; }

  // Puts those of a text behind those that are there.
  void read(int64_t text, TokenReader& reader, Sequences& sequences) const {
    const auto i = static_cast<size_t>(text);
    for (int64_t sentence = starts_[i]; sentence < starts_[i + 1]; ++sentence) {
      reader.read(sentences_[sentence], sequences.symbols);
      sequences.close();
    }
  }

 private:
  Texts sentences_;
  std::vector<int64_t> starts_;
};

size_t symbols_in(const Sequences& sequences) {
  uint32_t largest = 0;
  for (const uint32_t symbol : sequences.symbols) {
    largest = std::max(largest, symbol);
  }
  return size_t{largest} + 1;
}

struct Options {
  std::vector<int64_t> kinds;  // orders of n-grams, kSubsequence or kSummary
  bool average;                // over the references, instead of the best
};

// Scores samples one after the other, in memory that is used again.
class Scorer {
 public:
  Scorer(const TokenRules& rules, const Options& options)
      : reader_(rules),
        options_(options),
        orders_(*std::max_element(options.kinds.begin(), options.kinds.end())) {
    orders_ = std::max<int64_t>(orders_, 0);
  }

  // Three columns of `row` for each kind, and a 1.
  void score(const Samples& samples, int64_t sample, const Sentences* preds,
             const Sentences* target, double* row) {
    samples.read(sample, reader_, texts_);
    const auto references = static_cast<size_t>(samples.references(sample));
    matches_.resize(references * static_cast<size_t>(orders_));
    counter_.match(texts_, static_cast<size_t>(orders_), false, matches_.data());
    sentences_.clear();
    borders_.clear();
    if (preds != nullptr && target != nullptr) {
      preds->read(sample, reader_, sentences_);
      borders_.push_back(sentences_.count());
      for (int64_t i = samples.first(sample); i < samples.first(sample + 1); ++i) {
        target->read(i, reader_, sentences_);
        borders_.push_back(sentences_.count());
      }
    }
    for (const int64_t kind : options_.kinds) {
      const Score score = over_references(kind, references);
      *row++ = score.fmeasure;
      *row++ = score.precision;
      *row++ = score.recall;
    }
    *row = 1.0;
  }

 private:
  Score over_references(int64_t kind, size_t references) {
    Score total;
    for (size_t i = 0; i < references; ++i) {
      const Score score = against(kind, i);
      if (options_.average) {
        total.fmeasure += score.fmeasure / static_cast<double>(references);
        total.precision += score.precision / static_cast<double>(references);
        total.recall += score.recall / static_cast<double>(references);
      } else if (static_cast<float>(score.fmeasure) > static_cast<float>(total.fmeasure)) {
        total = score;
      }
    }
    return total;
  }

  Score against(int64_t kind, size_t reference) {
    const int64_t preds = texts_.size_of(0), target = texts_.size_of(reference + 1);
    if (kind == kSubsequence) {
      const int64_t length =
          longest_common(texts_[0], texts_[reference + 1], symbols_in(texts_), scratch_);
      return score_of(length, preds, target);
    }
    if (kind == kSummary) {
      const size_t split = borders_[0], from = borders_[reference], to = borders_[reference + 1];
      return score_of(summary_.hits(sentences_, split, from, to, symbols_in(sentences_)),
                      size_of(0, split), size_of(from, to));
    }
    const int64_t hits =
        matches_[reference * static_cast<size_t>(orders_) + static_cast<size_t>(kind) - 1];
    return score_of(hits, grams_in(preds, kind), grams_in(target, kind));
  }

  int64_t size_of(size_t from, size_t to) const {
    int64_t size = 0;
    for (size_t i = from; i < to; ++i) {
      size += sentences_.size_of(i);
    }
    return size;
  }

  TokenReader reader_;
  const Options& options_;
  int64_t orders_;
  GramCounter counter_;
  EditScratch scratch_;
  UnionOfSubsequences summary_;
  Sequences texts_, sentences_;
  std::vector<size_t> borders_;  // of the sentences of the prediction and of each reference
  std::vector<int64_t> matches_;
};

void rouge_rows(uintptr_t address, const pybind11::sequence& preds,
                const pybind11::sequence& target, const std::vector<int64_t>& counts,
                const pybind11::sequence& pred_sentences, const std::vector<int64_t>& pred_counts,
                const pybind11::sequence& target_sentences,
                const std::vector<int64_t>& target_counts, const std::vector<int64_t>& kinds,
                bool average, int tokenizer) {
  const Samples samples(preds, target, counts);
  const TokenRules rules{static_cast<Tokenizer>(tokenizer)};
  const Sentences of_preds(pred_sentences, pred_counts);
  const Sentences of_target(target_sentences, target_counts);
  const Options options{kinds, average};
  const bool summaries = std::find(kinds.begin(), kinds.end(), kSummary) != kinds.end();
  if (kinds.empty() || (summaries && (of_preds.size() != samples.size() ||
                                      of_target.size() != samples.first(samples.size())))) {
    throw std::invalid_argument("the sentences do not fit");
  }
  auto* rows = reinterpret_cast<double*>(address);
  const auto columns = static_cast<int64_t>(3 * kinds.size() + 1);
  each_text(samples.size(), samples.bytes() * 12, [&](int64_t first, int64_t last) {
    Scorer scorer(rules, options);
    for (int64_t i = first; i < last; ++i) {
      scorer.score(samples, i, summaries ? &of_preds : nullptr, summaries ? &of_target : nullptr,
                   rows + i * columns);
    }
  });
}

}  // namespace

void bind_rouge(pybind11::module_& module) {
  module.def("rouge_rows", &rouge_rows, "ROUGE scores of each sample.");
}

}  // namespace fastmetrics
