// Tokens of lines of text, as the scores over n-grams count them.
#pragma once

#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "strings.h"

namespace fastmetrics {

// How a line falls into tokens. The first five are sacrebleu's.
enum class Tokenizer {
  kNone,     // at spaces
  k13a,      // ASCII punctuation apart, points and commas only outside of numbers (mteval-v13a)
  kZh,       // Chinese characters apart, the rest as in 13a
  kIntl,     // punctuation, outside of numbers, and symbols of Unicode apart (mteval-v14)
  kChar,     // each character that is no space
  kLetters,  // each code point, which stands for a token that somebody else has found
  kRouge,    // runs of ASCII letters and digits, in lower case
  kChrf,     // at spaces; a mark of punctuation at the end, or else the start, of a word apart
};

// How the lines of a batch are read; kept while kernels work without the interpreter lock.
struct TokenRules {
  Tokenizer tokenizer;
  bool lowercase = false;  // the tokens, once they are found
  // Of each code point 'N', 'P', 'S' or something else, which those behind the end have, too.
  std::string_view classes = {};
};

// A line without the spaces at its ends, as of `str.strip()`.
Text stripped(const Text& line);

// Symbols of the tokens of some lines: equal tokens have equal symbols until `clear`. Each thread
// has one of its own, and uses its memory again.
class TokenReader {
 public:
  explicit TokenReader(const TokenRules& rules) : rules_(rules) {}

  // Puts the symbols of a line, which must live until the next `clear`, behind those that are
  // there.
  void read(const Text& line, std::vector<uint32_t>& symbols);
  void clear();

 private:
  // Code points while rules rewrite them.
  struct Buffer {
    std::unique_ptr<uint32_t[]> points;
    size_t capacity = 0;
    size_t size = 0;

    uint32_t* room_for(size_t count);
  };

  void load(const Text& line);
  template <class Here>
  void set_apart(Here here);
  template <bool kBoth, class First, class Second>
  void part(First first, Second second);
  void replace(std::string_view from, std::string_view to);
  void unescape();
  void part_as_13a();
  void part_internationally();
  void lower();
  void rewrite(const Text& line);
  Text keep();
  void number_as_chrf(const Text& line, std::vector<uint32_t>& symbols);
  void read_characters(const Text& line, std::vector<uint32_t>& symbols);

  TokenRules rules_;
  Buffer now_, next_;
  std::vector<Buffer> kept_;  // rewritten lines, to which the vocabulary points
  size_t used_ = 0;
  std::vector<Word> words_;
  Vocabulary vocabulary_;
};

// Where groups of these sizes start that lie one after the other, and where the last one ends.
std::vector<int64_t> starts_of(const std::vector<int64_t>& counts);

// Sequences of symbols that lie one after the other.
struct Sequences {
  std::vector<uint32_t> symbols;
  std::vector<size_t> ends;

  void clear() {
    symbols.clear();
    ends.clear();
  }
  void close() { ends.push_back(symbols.size()); }
  size_t count() const { return ends.size(); }
  std::span<const uint32_t> operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return {symbols.data() + begin, ends[i] - begin};
  }
  int64_t size_of(size_t i) const { return static_cast<int64_t>((*this)[i].size()); }
};

// Predictions, and the references of each, which come one after the other. Made and destroyed under
// the interpreter lock.
class Samples {
 public:
  Samples(const pybind11::sequence& preds, const pybind11::sequence& target,
          const std::vector<int64_t>& counts);

  int64_t size() const { return preds_.size(); }
  int64_t bytes() const { return preds_.bytes() + target_.bytes(); }
  const Text& prediction(int64_t sample) const { return preds_[sample]; }
  // The place in the sequence of all references of the first one of a sample.
  int64_t first(int64_t sample) const { return starts_[static_cast<size_t>(sample)]; }
  int64_t references(int64_t sample) const { return first(sample + 1) - first(sample); }

  // Puts the symbols of a prediction, and behind them those of its references, in the place of
  // those before: `read(line, symbols)` finds them.
  template <class F>
  void each(int64_t sample, Sequences& sequences, F&& read) const {
    sequences.clear();
    read(prediction(sample), sequences.symbols);
    sequences.close();
    for (int64_t i = first(sample); i < first(sample + 1); ++i) {
      read(target_[i], sequences.symbols);
      sequences.close();
    }
  }
  // As the reader finds them, which forgets all others.
  void read(int64_t sample, TokenReader& reader, Sequences& sequences) const {
    reader.clear();
    each(sample, sequences,
         [&](const Text& line, std::vector<uint32_t>& symbols) { reader.read(line, symbols); });
  }

 private:
  Texts preds_, target_;
  std::vector<int64_t> starts_;
};

}  // namespace fastmetrics
