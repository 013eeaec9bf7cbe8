// box_matches_ and mask_matches_: which detections of an image hit a ground truth, for each IoU
// threshold and range of areas; pack_masks_ writes masks as bits.
//
// A batch comes as the tensors of each image, which are read once, one after another, into flat
// columns of double. Images are split over threads; each sorts its own few detections by class and
// score, works out the IoU of those pairs that share a class, and walks the thresholds: those that
// the same pairs reach, at once. A row of the state is written once, at the place of its detection
// or ground truth.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "op.h"
#include "parallel.h"
#include "reals.h"
#include "simd.h"

namespace fastmetrics {

// How many bits two masks share.
using SharedBits = int64_t (*)(const uint64_t* first, const uint64_t* second, int64_t words);

}  // namespace fastmetrics

#define FM_KERNELS "box_matches.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

// Columns of a row; behind them the bits "matched", then the bits "ignored".
// fastmetrics/ops/box_matches.py documents them.
enum Column : int64_t { kScore = 0, kClass = 1, kImage = 2, kRank = 3, kBits = 4 };
// Columns of `layout`.
enum Size : int64_t { kFound = 0, kTruth = 1, kId = 2, kWords = 3, kSizes = 4 };

// A detection must reach at least this, whatever the threshold.
inline constexpr double kMostIou = 1 - 1e-10;

struct Rule {
  std::vector<double> thresholds;
  std::vector<double> areas;  // lower and upper bounds in turn, both inside
  int64_t max_dets;
  bool by_class;

  int64_t num_areas() const { return static_cast<int64_t>(areas.size()) / 2; }
  int64_t num_thresholds() const { return static_cast<int64_t>(thresholds.size()); }
  int64_t words() const { return (num_areas() * num_thresholds() + 63) / 64; }
  int64_t columns() const { return kBits + 2 * words(); }
  bool outside(int64_t range, double area) const {
    return area < areas[2 * range] || area > areas[2 * range + 1];
  }
};

using Tensors = std::vector<Tensor>;

// Where an image lies in the columns of its batch.
struct Image {
  int64_t found, num_found, truth, num_truth, id;
  int64_t pairs;  // of detections and ground truths of images before
};

int64_t count_of(const Tensor& labels) {
  require(labels.dim() > 0, "`labels` must be (N,).");
  return labels.size(0);
}

// Whether a column of an image holds `count` objects, and there are any.
bool holds(const Tensor& tensor, int64_t count, int64_t axes) {
  require(tensor.dim() > 0 && tensor.size(0) == count && (count == 0 || tensor.dim() == axes),
          "a column of an image has another shape than it must have.");
  return count > 0;
}

void append_reals(const Tensor& tensor, int64_t count, std::vector<double>& to) {
  if (holds(tensor, count, 1)) {
    const size_t start = to.size();
    to.resize(start + static_cast<size_t>(count));
    load_reals(tensor.scalar_type())(tensor.const_data_ptr(), 0, tensor.stride(0), count,
                                     to.data() + start);
  }
}

void append_labels(const Tensor& tensor, int64_t count, std::vector<int64_t>& to) {
  if (!holds(tensor, count, 1)) {
    return;
  }
  with_label_type(tensor.scalar_type(), [&](auto kind) {
    const auto* label = static_cast<const decltype(kind)*>(tensor.const_data_ptr());
    const int64_t step = tensor.stride(0);
    for (int64_t i = 0; i < count; ++i) {
      to.push_back(static_cast<int64_t>(label[i * step]));
    }
  });
}

// The columns of both sides of a batch, the images one after another.
struct Batch {
  std::vector<Image> images;
  std::vector<int64_t> labels;
  std::vector<double> scores;
  std::vector<int64_t> truth_labels;
  std::vector<double> crowds;  // not 0 where one is
  std::vector<double> areas;   // given for ground truths; up to 0 where they are not
  size_t without_score = 0;    // the first image with a score that is NaN, or behind the last one

  Batch(const Tensors& label_lists, const Tensors& score_lists, const Tensors& truth_label_lists,
        const Tensors& crowd_lists, const Tensors& area_lists, const std::vector<int64_t>& ids) {
    const size_t count = ids.size();
    for (const Tensors* lists : {&label_lists, &score_lists, &truth_label_lists}) {
      require(lists->size() == count, "all columns must be of as many images.");
    }
    for (const Tensors* lists : {&crowd_lists, &area_lists}) {
      require(lists->empty() || lists->size() == count, "all columns must be of as many images.");
    }
    without_score = count;
    Image next{};
    for (size_t i = 0; i < count; ++i) {
      next.num_found = count_of(label_lists[i]);
      next.num_truth = count_of(truth_label_lists[i]);
      next.id = ids[i];
      images.push_back(next);
      append_labels(label_lists[i], next.num_found, labels);
      append_labels(truth_label_lists[i], next.num_truth, truth_labels);
      require(next.num_found == 0 || is_score_type(score_lists[i].scalar_type()),
              "`scores` must be floats.");
      append_reals(score_lists[i], next.num_found, scores);
      if (!crowd_lists.empty()) {
        append_reals(crowd_lists[i], next.num_truth, crowds);
      }
      if (!area_lists.empty()) {
        append_reals(area_lists[i], next.num_truth, areas);
      }
      if (without_score == count && std::any_of(scores.begin() + next.found, scores.end(),
                                                [](double score) { return std::isnan(score); })) {
        without_score = i;
      }
      next.found += next.num_found;
      next.truth += next.num_truth;
      next.pairs += next.num_found * next.num_truth;
    }
    crowds.resize(truth_labels.size());
    areas.resize(truth_labels.size());
    pairs_ = next.pairs;
  }

  int64_t num_found() const { return static_cast<int64_t>(labels.size()); }
  int64_t num_truth() const { return static_cast<int64_t>(truth_labels.size()); }
  int64_t num_pairs() const { return pairs_; }

 private:
  int64_t pairs_ = 0;
};

// fastmetrics/ops/box_matches.py names them in this order.
enum class BoxFormat : int64_t { kCorners = 0, kCornerSize = 1, kCenterSize = 2 };

// The 16-bit floats of torch calculate in float and round.
template <class T>
struct Calculating {
  using Type = T;
};
template <>
struct Calculating<Half> {
  using Type = torch::headeronly::Half;
};
template <>
struct Calculating<BFloat16> {
  using Type = torch::headeronly::BFloat16;
};

// Integers wrap.
template <class T>
T minus(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  } else {
    return a - b;
  }
}

// Appends boxes as (x, y, width, height), worked out in T.
template <class T, class Stored>
void append_boxes_as(const Tensor& tensor, int64_t count, BoxFormat format,
                     std::vector<double>& to) {
  const Stored* box = static_cast<const Stored*>(tensor.const_data_ptr());
  const int64_t next = tensor.stride(0);
  const int64_t step = tensor.stride(1);
  size_t start = to.size();
  to.resize(start + 4 * static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i, box += next, start += 4) {
    for (int64_t axis = 0; axis < 2; ++axis) {
      T place = static_cast<T>(box[axis * step]);
      T size = static_cast<T>(box[(axis + 2) * step]);
      if constexpr (!std::is_integral_v<T>) {
        if (format == BoxFormat::kCenterSize) {
          const T half = static_cast<T>(0.5F) * size;
          size = place + half;
          place = place - half;
        }
      }
      if (format != BoxFormat::kCornerSize) {
        size = minus(size, place);
      }
      to[start + axis] = static_cast<double>(place);
      to[start + axis + 2] = static_cast<double>(size);
    }
  }
}

void append_boxes(const Tensor& tensor, int64_t count, BoxFormat format, std::vector<double>& to) {
  if (!holds(tensor, count, 2)) {
    return;
  }
  const ScalarType type = tensor.scalar_type();
  require(tensor.size(1) == 4 && type != ScalarType::Bool, "`boxes` must be real numbers (N, 4).");
  const auto append = [&](auto kind) {
    using Stored = typename Calculating<decltype(kind)>::Type;
    if (std::is_integral_v<Stored> && format == BoxFormat::kCenterSize) {
      append_boxes_as<float, Stored>(tensor, count, format, to);
    } else {
      append_boxes_as<Stored, Stored>(tensor, count, format, to);
    }
  };
  is_score_type(type) ? with_score_type(type, append) : with_label_type(type, append);
}

// The boxes of a batch as double. The arithmetic is that of the COCO tools, to the last bit.
class BoxPairs {
 public:
  BoxPairs(const Tensors& found, const Tensors& truth, const Batch& batch, BoxFormat format)
      : bad_(batch.images.size()) {
    require(found.size() == bad_ && truth.size() == bad_, "all columns must be of as many images.");
    for (size_t i = 0; i < batch.images.size(); ++i) {
      const Image& image = batch.images[i];
      append_boxes(found[i], image.num_found, format, found_);
      append_boxes(truth[i], image.num_truth, format, truth_);
      if (bad_ == batch.images.size() &&
          (bad(found_, image.num_found) || bad(truth_, image.num_truth))) {
        bad_ = i;
      }
    }
  }

  // The first image with a box that is not finite or has a negative side, or behind the last one.
  size_t bad() const { return bad_; }

  class Reader {
   public:
    void open(const BoxPairs& pairs, const Image& image, size_t) {
      found_ = pairs.found_.data() + 4 * image.found;
      truth_ = pairs.truth_.data() + 4 * image.truth;
    }
    double found_area(int64_t d) const { return area(found_ + 4 * d); }
    double truth_area(int64_t g) const { return area(truth_ + 4 * g); }
    double iou(int64_t d, int64_t g, bool crowd) const {
      const double* a = found_ + 4 * d;
      const double* b = truth_ + 4 * g;
      const double w = std::fmin(a[2] + a[0], b[2] + b[0]) - std::fmax(a[0], b[0]);
      const double h = std::fmin(a[3] + a[1], b[3] + b[1]) - std::fmax(a[1], b[1]);
      if (w <= 0 || h <= 0) {
        return 0.0;
      }
      const double both = w * h;
      const double whole = crowd ? area(a) : area(a) + area(b) - both;
      return both / whole;
    }

   private:
    static double area(const double* box) { return box[2] * box[3]; }

    const double* found_ = nullptr;
    const double* truth_ = nullptr;
  };

 private:
  // Whether one of the last `count` boxes is bad.
  static bool bad(const std::vector<double>& boxes, int64_t count) {
    for (size_t i = boxes.size() - 4 * static_cast<size_t>(count); i < boxes.size(); ++i) {
      if (!std::isfinite(boxes[i]) || (i % 4 >= 2 && boxes[i] < 0)) {
        return true;
      }
    }
    return false;
  }

  std::vector<double> found_;
  std::vector<double> truth_;
  size_t bad_;
};

// Masks of an image as bits. Areas and intersections are whole numbers.
class MaskPairs {
 public:
  MaskPairs(const Tensor& found, const Tensor& truth, const Batch& batch,
            const std::vector<int64_t>& words)
      : found_(words_of(found)), truth_(words_of(truth)) {
    require(words.size() == batch.images.size(), "`words` must be of as many images.");
    Place next{};
    for (size_t i = 0; i < words.size(); ++i) {
      require(words[i] >= 0, "`words` must not be negative.");
      next.words = words[i];
      places_.push_back(next);
      next.found += batch.images[i].num_found * next.words;
      next.truth += batch.images[i].num_truth * next.words;
    }
    require(found.numel() == next.found && truth.numel() == next.truth,
            "masks must hold as many words as `words` says.");
  }

  class Reader {
   public:
    void open(const MaskPairs& pairs, const Image& image, size_t i) {
      const Place& place = pairs.places_[i];
      words_ = place.words;
      found_ = pairs.found_ + place.found;
      truth_ = pairs.truth_ + place.truth;
      measure(found_, image.num_found, found_areas_);
      measure(truth_, image.num_truth, truth_areas_);
    }
    double found_area(int64_t d) const { return static_cast<double>(found_areas_[d]); }
    double truth_area(int64_t g) const { return static_cast<double>(truth_areas_[g]); }
    double iou(int64_t d, int64_t g, bool crowd) const {
      const int64_t both = shared_(found_ + d * words_, truth_ + g * words_, words_);
      const int64_t whole = crowd ? found_areas_[d] : found_areas_[d] + truth_areas_[g] - both;
      return both == 0 ? 0.0 : static_cast<double>(both) / static_cast<double>(whole);
    }

   private:
    void measure(const uint64_t* masks, int64_t count, std::vector<int64_t>& areas) const {
      areas.resize(count);
      for (int64_t i = 0; i < count; ++i) {
        const uint64_t* mask = masks + i * words_;
        areas[i] = shared_(mask, mask, words_);
      }
    }

    SharedBits shared_ = FM_PICK(kSharedBits);
    int64_t words_ = 0;
    const uint64_t* found_ = nullptr;
    const uint64_t* truth_ = nullptr;
    std::vector<int64_t> found_areas_;
    std::vector<int64_t> truth_areas_;
  };

 private:
  // Of an image: words of a mask, and where its masks begin.
  struct Place {
    int64_t words, found, truth;
  };

  static const uint64_t* words_of(const Tensor& masks) {
    require(masks.scalar_type() == ScalarType::Long && masks.dim() == 1 && masks.is_contiguous(),
            "masks must be contiguous int64 [W].");
    return static_cast<const uint64_t*>(masks.const_data_ptr());
  }

  const uint64_t* found_;
  const uint64_t* truth_;
  std::vector<Place> places_;
};

// Matches one image after another, in memory that it keeps.
template <class Pairs>
class Matcher {
 public:
  Matcher(const Pairs& pairs, const Batch& batch, const Rule& rule)
      : pairs_(pairs), batch_(batch), rule_(rule) {}

  // Writes the rows of an image, and its IoU class by class where `ious` is not null.
  void match(size_t i, int64_t* found_rows, int64_t* truth_rows, double* ious) {
    const Image& image = batch_.images[i];
    reader_.open(pairs_, image, i);
    sort(image);
    write_truths(image, truth_rows);
    size_t g = 0;
    for (size_t d = 0; d < found_.size();) {
      const int64_t label = found_label(image, found_[d]);
      size_t d_end = d;
      while (d_end < found_.size() && found_label(image, found_[d_end]) == label) {
        ++d_end;
      }
      while (g < truth_.size() && truth_label(image, truth_[g]) < label) {
        ++g;
      }
      size_t g_end = g;
      while (g_end < truth_.size() && truth_label(image, truth_[g_end]) == label) {
        ++g_end;
      }
      match_class(image, {found_.data() + d, d_end - d}, {truth_.data() + g, g_end - g},
                  found_rows);
      if (ious != nullptr) {
        ious = std::copy(ious_.begin(), ious_.end(), ious);
      }
      d = d_end;
      g = g_end;
    }
  }

 private:
  using Places = std::span<const int64_t>;

  struct Key {
    int64_t label;
    double score;
    int64_t place;

    bool operator<(const Key& other) const {
      if (label != other.label) {
        return label < other.label;
      }
      return score != other.score ? score > other.score : place < other.place;
    }
  };

  int64_t found_label(const Image& image, int64_t d) const {
    return rule_.by_class ? batch_.labels[image.found + d] : 0;
  }
  int64_t truth_label(const Image& image, int64_t g) const {
    return rule_.by_class ? batch_.truth_labels[image.truth + g] : 0;
  }

  bool crowd(const Image& image, int64_t g) const { return batch_.crowds[image.truth + g] != 0; }

  // Detections by class, then from the highest score down; ground truths by class.
  void sort(const Image& image) {
    keys_.resize(image.num_found);
    for (int64_t d = 0; d < image.num_found; ++d) {
      keys_[d] = {found_label(image, d), batch_.scores[image.found + d], d};
    }
    std::sort(keys_.begin(), keys_.end());
    found_.resize(image.num_found);
    std::ranges::transform(keys_, found_.begin(), &Key::place);
    keys_.resize(image.num_truth);
    for (int64_t g = 0; g < image.num_truth; ++g) {
      keys_[g] = {truth_label(image, g), 0.0, g};
    }
    std::sort(keys_.begin(), keys_.end());
    truth_.resize(image.num_truth);
    std::ranges::transform(keys_, truth_.begin(), &Key::place);
  }

  void write_head(int64_t* row, double score, int64_t label, int64_t id, int64_t rank) const {
    std::memcpy(row + kScore, &score, sizeof(score));
    row[kClass] = label;
    row[kImage] = id;
    row[kRank] = rank;
    std::fill(row + kBits, row + rule_.columns(), int64_t{0});
  }

  void write_truths(const Image& image, int64_t* rows) {
    const int64_t ranges = rule_.num_areas();
    outside_.assign(image.num_truth * ranges, 0);
    for (int64_t g = 0; g < image.num_truth; ++g) {
      int64_t* row = rows + g * rule_.columns();
      write_head(row, 0.0, batch_.truth_labels[image.truth + g], image.id, -1);
      const double given = batch_.areas[image.truth + g];
      const double area = given > 0 ? given : reader_.truth_area(g);
      for (int64_t range = 0; range < ranges; ++range) {
        const bool ignored = crowd(image, g) || rule_.outside(range, area);
        outside_[g * ranges + range] = ignored;
        row[kBits] |= static_cast<int64_t>(!ignored) << range;
      }
    }
  }

  void match_class(const Image& image, Places found, Places truth, int64_t* rows) {
    const auto width = static_cast<int64_t>(truth.size());
    const int64_t kept = std::min(static_cast<int64_t>(found.size()), rule_.max_dets);
    for (int64_t d = 0; d < static_cast<int64_t>(found.size()); ++d) {
      int64_t* row = rows + found[d] * rule_.columns();
      const int64_t place = image.found + found[d];
      write_head(row, batch_.scores[place], batch_.labels[place], image.id, d);
      if (d < kept) {
        ignore_outside(row + kBits + rule_.words(), reader_.found_area(found[d]));
      }
    }
    ious_.resize(kept * width);
    best_.assign(kept, 0.0);
    for (int64_t d = 0; d < kept; ++d) {
      for (int64_t g = 0; g < width; ++g) {
        const double iou = reader_.iou(found[d], truth[g], crowd(image, truth[g]));
        ious_[d * width + g] = iou;
        best_[d] = std::max(best_[d], iou);
      }
    }
    match_pairs(image, found.first(kept), truth, rows);
  }

  // Which pairs reach a threshold decides about all that follows: those that the same pairs reach
  // are taken together.
  void match_pairs(const Image& image, Places found, Places truth, int64_t* rows) {
    order_truths(truth);
    int64_t begin = 0;
    int64_t reaching = pairs_reaching(0);
    for (int64_t t = 1; t <= rule_.num_thresholds(); ++t) {
      const int64_t next = t < rule_.num_thresholds() ? pairs_reaching(t) : -1;
      if (next != reaching) {
        if (reaching > 0) {
          match_thresholds(image, found, truth, begin, t, rows);
        }
        begin = t;
        reaching = next;
      }
    }
  }

  int64_t pairs_reaching(int64_t t) const {
    const double least = threshold(t);
    return std::ranges::count_if(ious_, [=](double iou) { return iou >= least; });
  }

  // Sets the bits of those ranges that an unmatched detection of this area lies outside of.
  void ignore_outside(int64_t* bits, double area) const {
    for (int64_t range = 0; range < rule_.num_areas(); ++range) {
      if (rule_.outside(range, area)) {
        fill_bits(bits, range * rule_.num_thresholds(), rule_.num_thresholds(), true);
      }
    }
  }

  static void fill_bits(int64_t* words, int64_t first, int64_t count, bool on) {
    while (count > 0) {
      const int64_t size = std::min(count, 64 - first % 64);
      const uint64_t ones = size == 64 ? ~uint64_t{0} : (uint64_t{1} << size) - 1;
      const auto mask = static_cast<int64_t>(ones << (first % 64));
      int64_t& word = words[first / 64];
      word = on ? word | mask : word & ~mask;
      first += size;
      count -= size;
    }
  }

  bool ignored(int64_t g, int64_t range) const {
    return outside_[g * rule_.num_areas() + range] != 0;
  }

  // Of each range the order in which ground truths are looked at, those that are ignored last.
  void order_truths(Places truth) {
    order_.clear();
    counted_.assign(rule_.num_areas(), 0);
    for (int64_t range = 0; range < rule_.num_areas(); ++range) {
      for (const bool last : {false, true}) {
        for (size_t g = 0; g < truth.size(); ++g) {
          if (ignored(truth[g], range) == last) {
            order_.push_back(static_cast<int64_t>(g));
            counted_[range] += !last;
          }
        }
      }
    }
  }

  double threshold(int64_t t) const { return std::min(rule_.thresholds[t], kMostIou); }

  // Whether ground truths are ignored matters only where some are and others are not.
  void match_thresholds(const Image& image, Places found, Places truth, int64_t begin, int64_t end,
                        int64_t* rows) {
    const auto width = static_cast<int64_t>(truth.size());
    bool known = false;
    for (int64_t range = 0; range < rule_.num_areas(); ++range) {
      const bool mixed = counted_[range] > 0 && counted_[range] < width;
      if (!known || mixed) {
        match_range(image, truth, threshold(begin), range);
      }
      known = !mixed;
      for (size_t d = 0; d < found.size(); ++d) {
        if (matches_[d] >= 0) {
          int64_t* bits = rows + found[d] * rule_.columns() + kBits;
          const int64_t first = range * rule_.num_thresholds() + begin;
          fill_bits(bits, first, end - begin, true);
          fill_bits(bits + rule_.words(), first, end - begin, ignored(truth[matches_[d]], range));
        }
      }
    }
  }

  // Which ground truth each detection takes.
  void match_range(const Image& image, Places truth, double least, int64_t range) {
    const auto width = static_cast<int64_t>(truth.size());
    taken_.assign(width, 0);
    matches_.assign(best_.size(), -1);
    for (size_t d = 0; d < best_.size(); ++d) {
      if (best_[d] >= least) {
        matches_[d] = best_match(image, truth, ious_.data() + d * width, least, range);
      }
      if (matches_[d] >= 0) {
        taken_[matches_[d]] = 1;
      }
    }
  }

  // The ground truth that a detection takes, or -1: the last one of the highest IoU, among those
  // that count if there is any.
  int64_t best_match(const Image& image, Places truth, const double* ious, double least,
                     int64_t range) const {
    const auto width = static_cast<int64_t>(truth.size());
    const int64_t* order = order_.data() + range * width;
    int64_t match = -1;
    for (int64_t i = 0; i < width && (match < 0 || i != counted_[range]); ++i) {
      const int64_t g = order[i];
      if (ious[g] >= least && (!taken_[g] || crowd(image, truth[g]))) {
        least = ious[g];
        match = g;
      }
    }
    return match;
  }

  const Pairs& pairs_;
  const Batch& batch_;
  const Rule& rule_;
  typename Pairs::Reader reader_;
  std::vector<Key> keys_;
  std::vector<int64_t> found_;  // places in the image, class by class
  std::vector<int64_t> truth_;
  std::vector<int64_t> order_;    // of each range
  std::vector<int64_t> counted_;  // of each range, the ground truths that are not ignored
  std::vector<int64_t> matches_;  // of each detection, or -1
  std::vector<char> outside_;     // of each ground truth and range: whether it is ignored
  std::vector<char> taken_;
  std::vector<double> ious_;
  std::vector<double> best_;
};

template <class Pairs>
void match_images(Tensor& state, std::optional<Tensor>& ious, const Pairs& pairs,
                  const Batch& batch, const Rule& rule) {
  const int64_t num_found = batch.num_found();
  require(rule.max_dets >= 0, "`max_dets` must be at least 0.");
  require(rule.num_areas() <= 64 && rule.areas.size() % 2 == 0 && !rule.thresholds.empty() &&
              rule.num_areas() > 0,
          "`areas` must be up to 64 pairs, and `thresholds` at least one.");
  require(state.scalar_type() == ScalarType::Long && state.dim() == 2 &&
              state.size(0) == num_found + batch.num_truth() && state.size(1) == rule.columns(),
          "the state must be int64 [D + G, W].");
  int64_t* rows = state_data<int64_t>(state);
  double* matrices = nullptr;
  if (ious) {
    require(ious->scalar_type() == ScalarType::Double && ious->numel() == batch.num_pairs(),
            "`ious` must be float64, of as many pairs as the images have.");
    matrices = state_data<double>(*ious);
  }
  const auto count = static_cast<int64_t>(batch.images.size());
  // A row takes as long as reading so many bytes.
  constexpr int64_t kBytesPerRow = 64;
  const Partition partition(count, kBytesPerRow * state.size(0) / std::max<int64_t>(count, 1) + 1,
                            1, true, 1);
  partition.run([&](int64_t, int64_t begin, int64_t end) {
    Matcher<Pairs> matcher(pairs, batch, rule);
    for (int64_t i = begin; i < end; ++i) {
      const Image& image = batch.images[i];
      matcher.match(i, rows + image.found * rule.columns(),
                    rows + (num_found + image.truth) * rule.columns(),
                    matrices == nullptr ? nullptr : matrices + image.pairs);
    }
  });
}

// Raises for the first image with a bad box or a score that is NaN.
void refuse(const std::string& op, const Batch& batch, size_t bad_boxes) {
  const size_t image = std::min(batch.without_score, bad_boxes);
  if (image < batch.images.size()) {
    throw std::runtime_error(op + ": image " + std::to_string(image) +
                             (image == batch.without_score
                                  ? ": `scores` must not be NaN."
                                  : ": `boxes` must be finite, with no negative side."));
  }
}

void box_matches_cpu(Tensor state, std::optional<Tensor> ious, Tensors boxes, Tensors labels,
                     Tensors scores, Tensors truth_boxes, Tensors truth_labels, Tensors crowds,
                     Tensors areas, std::vector<int64_t> ids, std::vector<double> thresholds,
                     std::vector<double> ranges, int64_t max_dets, bool by_class,
                     int64_t box_format) {
  require(box_format >= 0 && box_format <= 2, "`box_format` must be in [0, 2].");
  const Batch batch(labels, scores, truth_labels, crowds, areas, ids);
  const BoxPairs pairs(boxes, truth_boxes, batch, static_cast<BoxFormat>(box_format));
  refuse("box_matches_", batch, pairs.bad());
  const Rule rule{std::move(thresholds), std::move(ranges), max_dets, by_class};
  match_images(state, ious, pairs, batch, rule);
}

void mask_matches_cpu(Tensor state, std::optional<Tensor> ious, const Tensor& masks, Tensors labels,
                      Tensors scores, const Tensor& truth_masks, Tensors truth_labels,
                      Tensors crowds, Tensors areas, std::vector<int64_t> ids,
                      std::vector<double> thresholds, std::vector<double> ranges, int64_t max_dets,
                      bool by_class, std::vector<int64_t> words) {
  const Batch batch(labels, scores, truth_labels, crowds, areas, ids);
  const MaskPairs pairs(masks, truth_masks, batch, words);
  refuse("mask_matches_", batch, batch.images.size());
  const Rule rule{std::move(thresholds), std::move(ranges), max_dets, by_class};
  match_images(state, ious, pairs, batch, rule);
}

void pack_masks_cpu(Tensor state, Tensors tensors) {
  require(state.scalar_type() == ScalarType::Long && state.dim() == 1,
          "`state` must be int64 [W].");
  uint64_t* words = state_data<uint64_t>(state);
  struct Task {
    const uint8_t* mask;
    int64_t pixels;
    uint64_t* words;
  };
  std::vector<Task> tasks;
  int64_t next = 0;
  for (const Tensor& masks : tensors) {
    require(
        masks.dim() == 3 && masks.is_contiguous() &&
            (masks.scalar_type() == ScalarType::Byte || masks.scalar_type() == ScalarType::Bool),
        "masks must be contiguous bool or uint8 [N, H, W].");
    const int64_t pixels = masks.size(1) * masks.size(2);
    const auto* data = static_cast<const uint8_t*>(masks.const_data_ptr());
    for (int64_t i = 0; i < masks.size(0); ++i) {
      tasks.push_back({data + i * pixels, pixels, nullptr});
      tasks.back().words = words + next;
      next += (pixels + 63) / 64;
    }
  }
  require(next == state.numel(), "`state` must hold the bits of all masks.");
  if (tasks.empty()) {
    return;
  }
  const auto count = static_cast<int64_t>(tasks.size());
  const Partition partition(count, 64 * next / count, 1, true, 1);
  partition.run([&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      FM_PICK(kPackBits)(tasks[i].mask, tasks[i].pixels, tasks[i].words);
    }
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<box_matches_cpu>(library, "box_matches_");
  register_op<mask_matches_cpu>(library, "mask_matches_");
  register_op<pack_masks_cpu>(library, "pack_masks_");
}

}  // namespace fastmetrics
