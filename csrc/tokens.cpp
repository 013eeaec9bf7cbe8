// Tokenizers of the scores over n-grams.
//
// sacrebleu defines its tokenizers by regular expressions, which put spaces around what they find,
// one after the other; then the line is split at spaces. Here each of them is a pass over the code
// points, from one buffer to another, that puts the same spaces. Two kinds of passes are enough:
// `set_apart` looks at one code point, `part` at two, and like an expression it goes on behind the
// two that it has found. Words are then numbered by a vocabulary; where a token is one code point,
// that is its symbol.
#include "tokens.h"

#include <algorithm>
#include <array>

namespace fastmetrics {
namespace {

// The only code point that becomes two in lower case, and the symbol of these two.
constexpr uint32_t kDottedI = 0x130;
constexpr uint32_t kDotAbove = 0x307;
constexpr uint32_t kDottedISymbol = 0x110000;
constexpr uint32_t kKelvin = 0x212a;

bool is_digit(uint32_t point) { return point >= '0' && point <= '9'; }
bool is_stop(uint32_t point) { return point == '.' || point == ','; }

// ASCII punctuation but for what may belong to words and numbers: ' , - .
bool is_mark(uint32_t point) {
  return point < 0x7f && point > ' ' && !(point >= '0' && point <= '9') &&
         !((point | 0x20) >= 'a' && (point | 0x20) <= 'z') && point != '\'' && point != ',' &&
         point != '-' && point != '.';
}

// What sacrebleu takes for Chinese. Two of its ranges are meant to lie beyond U+FFFF; written with
// four digits they are U+2001 to U+2A6D and U+2F81 to U+2FA1, which scores have been made with.
bool is_chinese(uint32_t point) {
  constexpr std::array<std::array<uint32_t, 2>, 22> kRanges = {{
      {0x3400, 0x4db5}, {0x4e00, 0x9fa5}, {0x9fa6, 0x9fbb}, {0xf900, 0xfa2d}, {0xfa30, 0xfa6a},
      {0xfa70, 0xfad9}, {0x2001, 0x2a6d}, {0x2f81, 0x2fa1}, {0xff00, 0xffef}, {0x2e80, 0x2eff},
      {0x3000, 0x303f}, {0x31c0, 0x31ef}, {0x2f00, 0x2fdf}, {0x2ff0, 0x2fff}, {0x3100, 0x312f},
      {0x31a0, 0x31bf}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe4f}, {0x2600, 0x26ff}, {0x2700, 0x27bf},
      {0x3200, 0x32ff}, {0x3300, 0x33ff},
  }};
  return point > 0x2000 && std::any_of(kRanges.begin(), kRanges.end(), [&](const auto& range) {
           return point >= range[0] && point <= range[1];
         });
}

// What chrF takes from the ends of words.
bool is_punctuation(uint32_t point) {
  return point > ' ' && point < 0x7f && !is_digit(point) &&
         !((point | 0x20) >= 'a' && (point | 0x20) <= 'z');
}

uint32_t in_lower_case(uint32_t point) {
  if (point < 0x80) {
    return point >= 'A' && point <= 'Z' ? point + 32 : point;
  }
  return Py_UNICODE_TOLOWER(point);
}

uint32_t point_at(const Text& text, int64_t i) {
  return with_points(text, [&](const auto* points) -> uint32_t { return points[i]; });
}

Word piece(const Text& text, int64_t begin, int64_t end) {
  return with_points(text, [&](const auto* points) -> Word {
    uint64_t hash = 0;
    for (int64_t i = begin; i < end; ++i) {
      hash = joined(hash, points[i]);
    }
    return {{points + begin, end - begin, text.width}, mixed(hash)};
  });
}

// Runs of ASCII letters and digits; `line` is in lower case.
void split_as_rouge(const Text& line, std::vector<Word>& words) {
  const auto* points = static_cast<const uint32_t*>(line.data);
  const auto counts = [](uint32_t point) {
    return is_digit(point) || (point >= 'a' && point <= 'z');
  };
  for (int64_t i = 0; i < line.size;) {
    if (!counts(points[i])) {
      ++i;
      continue;
    }
    const int64_t begin = i;
    while (i < line.size && counts(points[i])) {
      ++i;
    }
    words.push_back(piece(line, begin, i));
  }
}

}  // namespace

Text stripped(const Text& line) {
  return with_points(line, [&](const auto* points) -> Text {
    int64_t begin = 0, end = line.size;
    while (end > begin && is_space(points[end - 1])) {
      --end;
    }
    while (begin < end && is_space(points[begin])) {
      ++begin;
    }
    return {points + begin, end - begin, line.width};
  });
}

uint32_t* TokenReader::Buffer::room_for(size_t count) {
  if (count > capacity) {
    points = std::make_unique_for_overwrite<uint32_t[]>(count);
    capacity = count;
  }
  return points.get();
}

void TokenReader::load(const Text& line) {
  uint32_t* out = now_.room_for(static_cast<size_t>(line.size) + 2);
  with_points(line, [&](const auto* points) { std::copy(points, points + line.size, out); });
  now_.size = static_cast<size_t>(line.size);
}

// "c" -> " c " wherever it is said to be so.
template <class Here>
void TokenReader::set_apart(Here here) {
  const uint32_t* in = now_.points.get();
  uint32_t* const begin = next_.room_for(3 * now_.size);
  uint32_t* out = begin;
  for (size_t i = 0; i < now_.size; ++i) {
    if (here(in[i])) {
      *out++ = ' ';
      *out++ = in[i];
      *out++ = ' ';
    } else {
      *out++ = in[i];
    }
  }
  next_.size = static_cast<size_t>(out - begin);
  std::swap(now_, next_);
}

// "ab" -> "a b " wherever a is a first and b a second one; " a b" if it is a that stands alone.
template <bool kFirstAlone, class First, class Second>
void TokenReader::part(First first, Second second) {
  const uint32_t* in = now_.points.get();
  uint32_t* const begin = next_.room_for(2 * now_.size);
  uint32_t* out = begin;
  size_t i = 0;
  while (i + 1 < now_.size) {
    if (!second(in[i + 1]) || !first(in[i])) {
      *out++ = in[i++];
      continue;
    }
    if (kFirstAlone) {
      *out++ = ' ';
    }
    *out++ = in[i++];
    *out++ = ' ';
    *out++ = in[i++];
    if (!kFirstAlone) {
      *out++ = ' ';
    }
  }
  if (i < now_.size) {
    *out++ = in[i];
  }
  next_.size = static_cast<size_t>(out - begin);
  std::swap(now_, next_);
}

// Only of text that becomes no longer.
void TokenReader::replace(std::string_view from, std::string_view to) {
  uint32_t* const points = now_.points.get();
  uint32_t* const end = points + now_.size;
  const auto first = static_cast<uint32_t>(from[0]);
  uint32_t* in = std::find(points, end, first);
  uint32_t* out = in;
  while (in != end) {
    const auto left = static_cast<size_t>(end - in);
    if (left >= from.size() && std::equal(from.begin(), from.end(), in, [](char a, uint32_t b) {
          return static_cast<uint32_t>(a) == b;
        })) {
      out = std::copy(to.begin(), to.end(), out);
      in += from.size();
    } else {
      *out++ = *in++;
    }
  }
  now_.size = static_cast<size_t>(out - points);
}

// Escapes of mteval, and a space at either end.
void TokenReader::unescape() {
  replace("<skipped>", "");
  replace("-\n", "");
  std::replace(now_.points.get(), now_.points.get() + now_.size, uint32_t{'\n'}, uint32_t{' '});
  replace("&quot;", "\"");
  replace("&amp;", "&");
  replace("&lt;", "<");
  replace("&gt;", ">");
  uint32_t* points = now_.points.get();
  std::copy_backward(points, points + now_.size, points + now_.size + 1);
  points[0] = points[now_.size + 1] = ' ';
  now_.size += 2;
}

void TokenReader::part_as_13a() {
  const auto not_digit = [](uint32_t point) { return !is_digit(point); };
  set_apart(is_mark);
  part<false>(not_digit, is_stop);
  part<true>(is_stop, not_digit);
  part<false>(is_digit, [](uint32_t point) { return point == '-'; });
}

void TokenReader::part_internationally() {
  const auto of = [this](uint32_t point) {
    return point < rules_.classes.size() ? rules_.classes[point] : '\0';
  };
  const auto no_number = [&](uint32_t point) { return of(point) != 'N'; };
  const auto punctuation = [&](uint32_t point) { return of(point) == 'P'; };
  part<false>(no_number, punctuation);
  part<true>(punctuation, no_number);
  set_apart([&](uint32_t point) { return of(point) == 'S'; });
}

void TokenReader::lower() {
  const uint32_t* in = now_.points.get();
  uint32_t* const begin = next_.room_for(2 * now_.size);
  uint32_t* out = begin;
  for (size_t i = 0; i < now_.size; ++i) {
    if (in[i] == kDottedI) {
      *out++ = 'i';
      *out++ = kDotAbove;
    } else {
      *out++ = in_lower_case(in[i]);
    }
  }
  next_.size = static_cast<size_t>(out - begin);
  std::swap(now_, next_);
}

// The rewritten line, in memory that stays as it is until `clear`.
Text TokenReader::keep() {
  if (used_ == kept_.size()) {
    kept_.emplace_back();
  }
  std::swap(kept_[used_], now_);
  const Buffer& line = kept_[used_++];
  return {line.points.get(), static_cast<int64_t>(line.size), 4};
}

void TokenReader::number_as_chrf(const Text& line, std::vector<uint32_t>& symbols) {
  split_words(line, words_);
  for (const Word& word : words_) {
    const int64_t last = word.text.size - 1;
    const bool at_end = last > 0 && is_punctuation(point_at(word.text, last));
    if (at_end || (last > 0 && is_punctuation(point_at(word.text, 0)))) {
      const int64_t border = at_end ? last : 1;
      symbols.push_back(vocabulary_.number(piece(word.text, 0, border)));
      symbols.push_back(vocabulary_.number(piece(word.text, border, last + 1)));
    } else {
      symbols.push_back(vocabulary_.number(word));
    }
  }
}

void TokenReader::read_characters(const Text& line, std::vector<uint32_t>& symbols) {
  const bool all = rules_.tokenizer == Tokenizer::kLetters;
  with_points(line, [&](const auto* points) {
    for (int64_t i = 0; i < line.size; ++i) {
      const uint32_t point = points[i];
      if (all || !is_space(point)) {
        symbols.push_back(!rules_.lowercase   ? point
                          : point == kDottedI ? kDottedISymbol
                                              : in_lower_case(point));
      }
    }
  });
}

// Into the one of the two buffers that is read.
void TokenReader::rewrite(const Text& line) {
  const Tokenizer tokenizer = rules_.tokenizer;
  load(tokenizer == Tokenizer::kZh ? stripped(line) : line);
  if (tokenizer == Tokenizer::k13a) {
    unescape();
  } else if (tokenizer == Tokenizer::kZh) {
    set_apart(is_chinese);
  } else if (tokenizer == Tokenizer::kIntl) {
    part_internationally();
  }
  if (tokenizer == Tokenizer::k13a || tokenizer == Tokenizer::kZh) {
    part_as_13a();
  }
  if (rules_.lowercase || tokenizer == Tokenizer::kRouge) {
    lower();
  }
}

void TokenReader::read(const Text& line, std::vector<uint32_t>& symbols) {
  const Tokenizer tokenizer = rules_.tokenizer;
  words_.clear();
  if (tokenizer == Tokenizer::kChar || tokenizer == Tokenizer::kLetters) {
    read_characters(line, symbols);
    return;
  }
  if (tokenizer == Tokenizer::kChrf) {
    number_as_chrf(line, symbols);
    return;
  }
  if (tokenizer == Tokenizer::kNone && !rules_.lowercase) {
    split_words(line, words_);
  } else {
    rewrite(line);
    tokenizer == Tokenizer::kRouge ? split_as_rouge(keep(), words_) : split_words(keep(), words_);
  }
  for (const Word& word : words_) {
    symbols.push_back(vocabulary_.number(word));
  }
}

void TokenReader::clear() {
  used_ = 0;
  vocabulary_.clear();
}

std::vector<int64_t> starts_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> starts(1, 0);
  for (const int64_t count : counts) {
    starts.push_back(starts.back() + std::max<int64_t>(count, 0));
  }
  return starts;
}

Samples::Samples(const pybind11::sequence& preds, const pybind11::sequence& target,
                 const std::vector<int64_t>& counts)
    : preds_(preds), target_(target), starts_(starts_of(counts)) {
  if (static_cast<int64_t>(counts.size()) != size() || starts_.back() != target_.size()) {
    throw std::invalid_argument("the numbers of references do not fit");
  }
}

}  // namespace fastmetrics
