// box_matches_ and mask_matches_: which detections of an image hit a ground truth, for each IoU
// threshold and range of areas; pack_masks_ writes masks as bits.
//
// A batch is flat: the detections of all images one after another, the ground truths likewise, and
// `layout` says how many of each an image has. Images are split over threads; each sorts its own
// few detections by class and score, works out the IoU of those pairs that share a class, and walks
// the thresholds. A row of the state is written once, at the place of its detection or ground
// truth.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

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
  double least() const { return std::min(*std::ranges::min_element(thresholds), kMostIou); }
  int64_t words() const { return (num_areas() * num_thresholds() + 63) / 64; }
  int64_t columns() const { return kBits + 2 * words(); }
  bool outside(int64_t range, double area) const {
    return area < areas[2 * range] || area > areas[2 * range + 1];
  }
};

// Where the images of a batch begin.
struct Image {
  int64_t found, num_found, truth, num_truth, id, words;
  int64_t found_words, truth_words;  // of packed masks
  int64_t pairs;                     // of detections and ground truths of images before
};

std::vector<Image> images_of(const Tensor& layout, int64_t num_found, int64_t num_truth) {
  require(layout.scalar_type() == ScalarType::Long && layout.dim() == 2 &&
              layout.size(1) == kSizes && layout.is_contiguous(),
          "`layout` must be contiguous int64 [I, 4].");
  const auto* sizes = static_cast<const int64_t*>(layout.const_data_ptr());
  std::vector<Image> images(static_cast<size_t>(layout.size(0)));
  Image next{};
  for (Image& image : images) {
    next.num_found = sizes[kFound];
    next.num_truth = sizes[kTruth];
    next.id = sizes[kId];
    next.words = sizes[kWords];
    require(next.num_found >= 0 && next.num_truth >= 0 && next.words >= 0 &&
                next.num_found <= num_found && next.num_truth <= num_truth,
            "`layout` must hold the sizes of the batch.");
    image = next;
    next.found += next.num_found;
    next.truth += next.num_truth;
    next.found_words += next.num_found * next.words;
    next.truth_words += next.num_truth * next.words;
    next.pairs += next.num_found * next.num_truth;
    require(next.found <= num_found && next.truth <= num_truth,
            "`layout` must hold the sizes of the batch.");
    sizes += kSizes;
  }
  require(next.found == num_found && next.truth == num_truth,
          "`layout` must hold the sizes of the batch.");
  return images;
}

template <class T>
const T* vector_data(const Tensor& tensor, ScalarType type, int64_t size) {
  require(tensor.scalar_type() == type && tensor.dim() == 1 && tensor.size(0) == size &&
              tensor.is_contiguous(),
          "an input has another shape or dtype than it must have.");
  return static_cast<const T*>(tensor.const_data_ptr());
}

struct Batch {
  const int64_t* labels;
  const double* scores;
  const int64_t* truth_labels;
  const bool* crowds;
  const double* areas;  // given for ground truths; up to 0 where they are not

  Batch(const Tensor& label_tensor, const Tensor& score_tensor, const Tensor& truth_label_tensor,
        const Tensor& crowd_tensor, const Tensor& area_tensor)
      : labels(vector_data<int64_t>(label_tensor, ScalarType::Long, label_tensor.numel())),
        scores(vector_data<double>(score_tensor, ScalarType::Double, label_tensor.numel())),
        truth_labels(
            vector_data<int64_t>(truth_label_tensor, ScalarType::Long, truth_label_tensor.numel())),
        crowds(vector_data<bool>(crowd_tensor, ScalarType::Bool, truth_label_tensor.numel())),
        areas(vector_data<double>(area_tensor, ScalarType::Double, truth_label_tensor.numel())) {}
};

// Boxes (x, y, width, height) of an image as double. The arithmetic is that of the COCO tools, to
// the last bit.
class BoxPairs {
 public:
  BoxPairs(const Tensor& found, const Tensor& truth) : found_(found), truth_(truth) {
    for (const Tensor& boxes : {found, truth}) {
      require(boxes.dim() == 2 && boxes.size(1) == 4 && boxes.is_contiguous(),
              "boxes must be contiguous [N, 4].");
    }
  }

  class Reader {
   public:
    void open(const BoxPairs& pairs, const Image& image) {
      load(pairs.found_, image.found, image.num_found, found_);
      load(pairs.truth_, image.truth, image.num_truth, truth_);
    }
    double found_area(int64_t d) const { return area(found_, d); }
    double truth_area(int64_t g) const { return area(truth_, g); }
    double iou(int64_t d, int64_t g, bool crowd) const {
      const double* a = found_.data() + 4 * d;
      const double* b = truth_.data() + 4 * g;
      const double w = std::fmin(a[2] + a[0], b[2] + b[0]) - std::fmax(a[0], b[0]);
      const double h = std::fmin(a[3] + a[1], b[3] + b[1]) - std::fmax(a[1], b[1]);
      if (w <= 0 || h <= 0) {
        return 0.0;
      }
      const double both = w * h;
      const double whole = crowd ? area(found_, d) : area(found_, d) + area(truth_, g) - both;
      return both / whole;
    }
    // What is wrong with the boxes of an image, or null.
    const char* fault() const { return bad(found_) || bad(truth_) ? kFault : nullptr; }

   private:
    static constexpr const char* kFault = "`boxes` must be finite, with no negative side.";

    static bool bad(const std::vector<double>& boxes) {
      for (size_t i = 0; i < boxes.size(); ++i) {
        if (!std::isfinite(boxes[i]) || (i % 4 >= 2 && boxes[i] < 0)) {
          return true;
        }
      }
      return false;
    }
    static double area(const std::vector<double>& boxes, int64_t i) {
      return boxes[4 * i + 2] * boxes[4 * i + 3];
    }
    static void load(const Tensor& boxes, int64_t first, int64_t count, std::vector<double>& to) {
      to.resize(4 * count);
      load_reals(boxes.scalar_type())(boxes.const_data_ptr(), 4 * first, 1, 4 * count, to.data());
    }

    std::vector<double> found_;
    std::vector<double> truth_;
  };

 private:
  const Tensor& found_;
  const Tensor& truth_;
};

// Masks of an image as bits. Areas and intersections are whole numbers.
class MaskPairs {
 public:
  MaskPairs(const Tensor& found, const Tensor& truth, const std::vector<Image>& images)
      : found_(words_of(found)), truth_(words_of(truth)) {
    int64_t all_found = 0;
    int64_t all_truth = 0;
    for (const Image& image : images) {
      all_found = image.found_words + image.num_found * image.words;
      all_truth = image.truth_words + image.num_truth * image.words;
    }
    require(found.numel() == all_found && truth.numel() == all_truth,
            "masks must hold as many words as `layout` says.");
  }

  class Reader {
   public:
    void open(const MaskPairs& pairs, const Image& image) {
      words_ = image.words;
      found_ = pairs.found_ + image.found_words;
      truth_ = pairs.truth_ + image.truth_words;
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
    const char* fault() const { return nullptr; }

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
  static const uint64_t* words_of(const Tensor& masks) {
    return vector_data<uint64_t>(masks, ScalarType::Long, masks.numel());
  }

  const uint64_t* found_;
  const uint64_t* truth_;
};

// Matches one image after another, in memory that it keeps.
template <class Pairs>
class Matcher {
 public:
  Matcher(const Pairs& pairs, const Batch& batch, const Rule& rule)
      : pairs_(pairs), batch_(batch), rule_(rule), least_(rule.least()) {}

  const char* fault(const Image& image) {
    reader_.open(pairs_, image);
    for (int64_t d = image.found; d < image.found + image.num_found; ++d) {
      if (std::isnan(batch_.scores[d])) {
        return "`scores` must not be NaN.";
      }
    }
    return reader_.fault();
  }

  // Writes the rows of an image, and its IoU class by class where `ious` is not null.
  void match(const Image& image, int64_t* found_rows, int64_t* truth_rows, double* ious) {
    reader_.open(pairs_, image);
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
        const bool ignored = batch_.crowds[image.truth + g] || rule_.outside(range, area);
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
    double best = 0.0;
    for (int64_t d = 0; d < kept; ++d) {
      for (int64_t g = 0; g < width; ++g) {
        const double iou = reader_.iou(found[d], truth[g], batch_.crowds[image.truth + truth[g]]);
        ious_[d * width + g] = iou;
        best_[d] = std::max(best_[d], iou);
      }
      best = std::max(best, best_[d]);
    }
    if (width > 0 && best >= least_) {
      for (int64_t range = 0; range < rule_.num_areas(); ++range) {
        match_range(image, found.first(kept), truth, range, rows);
      }
    }
  }

  // Sets the bits of those ranges that an unmatched detection of this area lies outside of.
  void ignore_outside(int64_t* bits, double area) const {
    for (int64_t range = 0; range < rule_.num_areas(); ++range) {
      if (!rule_.outside(range, area)) {
        continue;
      }
      int64_t first = range * rule_.num_thresholds();
      for (int64_t left = rule_.num_thresholds(); left > 0;) {
        const int64_t size = std::min(left, 64 - first % 64);
        const uint64_t ones = size == 64 ? ~uint64_t{0} : (uint64_t{1} << size) - 1;
        bits[first / 64] |= static_cast<int64_t>(ones << (first % 64));
        first += size;
        left -= size;
      }
    }
  }

  void match_range(const Image& image, Places found, Places truth, int64_t range, int64_t* rows) {
    const auto width = static_cast<int64_t>(truth.size());
    const auto ignored = [&](int64_t g) {
      return outside_[truth[g] * rule_.num_areas() + range] != 0;
    };
    order_.clear();
    for (const bool last : {false, true}) {
      for (int64_t g = 0; g < width; ++g) {
        if (ignored(g) == last) {
          order_.push_back(g);
        }
      }
    }
    for (int64_t t = 0; t < rule_.num_thresholds(); ++t) {
      const double threshold = std::min(rule_.thresholds[t], kMostIou);
      const int64_t bit = range * rule_.num_thresholds() + t;
      const auto mask = static_cast<int64_t>(uint64_t{1} << (bit % 64));
      taken_.assign(width, 0);
      for (size_t d = 0; d < found.size(); ++d) {
        if (best_[d] < threshold) {
          continue;
        }
        const int64_t match =
            best_match(image, truth, ious_.data() + d * width, threshold, ignored);
        if (match < 0) {
          continue;
        }
        taken_[match] = 1;
        int64_t* bits = rows + found[d] * rule_.columns() + kBits + bit / 64;
        bits[0] |= mask;
        int64_t& other = bits[rule_.words()];
        other = ignored(match) ? other | mask : other & ~mask;
      }
    }
  }

  // The ground truth that a detection takes, or -1: the last one of the highest IoU, among those
  // that count if there is any.
  template <class Ignored>
  int64_t best_match(const Image& image, Places truth, const double* ious, double least,
                     Ignored&& ignored) const {
    int64_t match = -1;
    for (const int64_t g : order_) {
      if (taken_[g] && !batch_.crowds[image.truth + truth[g]]) {
        continue;
      }
      if (match >= 0 && !ignored(match) && ignored(g)) {
        break;
      }
      if (ious[g] < least) {
        continue;
      }
      least = ious[g];
      match = g;
    }
    return match;
  }

  const Pairs& pairs_;
  const Batch& batch_;
  const Rule& rule_;
  double least_;  // below it, nothing matches
  typename Pairs::Reader reader_;
  std::vector<Key> keys_;
  std::vector<int64_t> found_;  // places in the image, class by class
  std::vector<int64_t> truth_;
  std::vector<int64_t> order_;
  std::vector<char> outside_;  // of each ground truth and range: whether it is ignored
  std::vector<char> taken_;
  std::vector<double> ious_;
  std::vector<double> best_;
};

template <class Pairs>
void match_images(const char* op, Tensor& state, std::optional<Tensor>& ious,
                  const std::vector<Image>& images, const Pairs& pairs, const Batch& batch,
                  const Rule& rule, int64_t num_found, int64_t num_truth) {
  require(rule.max_dets >= 0, "`max_dets` must be at least 0.");
  require(rule.num_areas() <= 64 && rule.areas.size() % 2 == 0 && !rule.thresholds.empty() &&
              rule.num_areas() > 0,
          "`areas` must be up to 64 pairs, and `thresholds` at least one.");
  require(state.scalar_type() == ScalarType::Long && state.dim() == 2 &&
              state.size(0) == num_found + num_truth && state.size(1) == rule.columns(),
          "the state must be int64 [D + G, W].");
  int64_t* rows = state_data<int64_t>(state);
  double* matrices = nullptr;
  if (ious) {
    const int64_t pairs_of_all =
        images.empty() ? 0
                       : images.back().pairs + images.back().num_found * images.back().num_truth;
    require(ious->scalar_type() == ScalarType::Double && ious->numel() == pairs_of_all,
            "`ious` must be float64, of as many pairs as the images have.");
    matrices = state_data<double>(*ious);
  }
  const auto count = static_cast<int64_t>(images.size());
  // A row takes as long as reading so many bytes.
  constexpr int64_t kBytesPerRow = 64;
  const Partition partition(
      count, kBytesPerRow * (num_found + num_truth) / std::max<int64_t>(count, 1) + 1, 1, true, 1);
  std::vector<std::pair<int64_t, const char*>> faults(partition.parts, {count, nullptr});
  partition.run([&](int64_t part, int64_t begin, int64_t end) {
    Matcher<Pairs> matcher(pairs, batch, rule);
    for (int64_t i = begin; i < end && faults[part].second == nullptr; ++i) {
      if (const char* fault = matcher.fault(images[i])) {
        faults[part] = {i, fault};
      }
    }
  });
  for (const auto& [image, fault] : faults) {
    if (fault != nullptr) {
      throw std::runtime_error(std::string(op) + ": image " + std::to_string(image) + ": " + fault);
    }
  }
  partition.run([&](int64_t, int64_t begin, int64_t end) {
    Matcher<Pairs> matcher(pairs, batch, rule);
    for (int64_t i = begin; i < end; ++i) {
      const Image& image = images[i];
      matcher.match(image, rows + image.found * rule.columns(),
                    rows + (num_found + image.truth) * rule.columns(),
                    matrices == nullptr ? nullptr : matrices + image.pairs);
    }
  });
}

void box_matches_cpu(Tensor state, std::optional<Tensor> ious, const Tensor& boxes,
                     const Tensor& labels, const Tensor& confidences, const Tensor& truth_boxes,
                     const Tensor& truth_labels, const Tensor& crowds, const Tensor& areas,
                     const Tensor& layout, std::vector<double> thresholds,
                     std::vector<double> ranges, int64_t max_dets, bool by_class) {
  const Batch batch(labels, confidences, truth_labels, crowds, areas);
  const int64_t num_found = labels.numel();
  const int64_t num_truth = truth_labels.numel();
  require(boxes.dim() == 2 && boxes.size(0) == num_found && truth_boxes.dim() == 2 &&
              truth_boxes.size(0) == num_truth,
          "there must be a label for each box.");
  const std::vector<Image> images = images_of(layout, num_found, num_truth);
  const Rule rule{std::move(thresholds), std::move(ranges), max_dets, by_class};
  match_images("box_matches_", state, ious, images, BoxPairs(boxes, truth_boxes), batch, rule,
               num_found, num_truth);
}

void mask_matches_cpu(Tensor state, std::optional<Tensor> ious, const Tensor& masks,
                      const Tensor& labels, const Tensor& confidences, const Tensor& truth_masks,
                      const Tensor& truth_labels, const Tensor& crowds, const Tensor& areas,
                      const Tensor& layout, std::vector<double> thresholds,
                      std::vector<double> ranges, int64_t max_dets, bool by_class) {
  const Batch batch(labels, confidences, truth_labels, crowds, areas);
  const int64_t num_found = labels.numel();
  const int64_t num_truth = truth_labels.numel();
  const std::vector<Image> images = images_of(layout, num_found, num_truth);
  const Rule rule{std::move(thresholds), std::move(ranges), max_dets, by_class};
  match_images("mask_matches_", state, ious, images, MaskPairs(masks, truth_masks, images), batch,
               rule, num_found, num_truth);
}

void pack_masks_cpu(Tensor state, std::vector<Tensor> tensors) {
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
  library.impl("box_matches_", TORCH_BOX(&box_matches_cpu));
  library.impl("mask_matches_", TORCH_BOX(&mask_matches_cpu));
  library.impl("pack_masks_", TORCH_BOX(&pack_masks_cpu));
}

}  // namespace fastmetrics
