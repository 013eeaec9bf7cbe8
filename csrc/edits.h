// How far apart two sequences of symbols are, 64 rows of the table of prefixes at a time.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

namespace fastmetrics {

// Memory that one thread uses again for each pair. Masks are zero between uses.
class EditScratch {
 public:
  // Bits for each of `symbols` symbols; untouched ones cost no memory.
  uint64_t* masks(size_t symbols) {
    if (symbols > symbols_) {
      symbols_ = 0;
      symbols = std::bit_ceil(symbols);  // a vocabulary grows by a few at a time
      masks_.reset(static_cast<uint64_t*>(std::calloc(symbols, sizeof(uint64_t))));
      if (!masks_) {
        throw std::bad_alloc();
      }
      symbols_ = symbols;
    }
    return masks_.get();
  }

  std::vector<uint8_t> steps;  // of one row of the table, from column to column

 private:
  struct Free {
    void operator()(uint64_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint64_t, Free> masks_;
  size_t symbols_ = 0;
};

// Insertions, deletions and substitutions between two sequences of symbols below `symbols`.
template <class T>
int64_t levenshtein(std::span<const T> a, std::span<const T> b, size_t symbols,
                    EditScratch& scratch);

// Length of the longest sequence that both contain, with gaps.
template <class T>
int64_t longest_common(std::span<const T> a, std::span<const T> b, size_t symbols,
                       EditScratch& scratch);

}  // namespace fastmetrics
