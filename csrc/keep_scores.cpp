// keep_scores_: a batch appended to growing buffers, for what needs all scores at once.
#include <algorithm>
#include <vector>

#include "labels.h"
#include "op.h"
#include "parallel.h"
#include "scores.h"

namespace fastmetrics {

template <class T>
struct KeepKernels {
  using Key = typename Score<T>::Key;
  void (*copy)(const T* scores, int64_t stride, int64_t count, T* kept, int64_t pitch);
  void (*note_scores)(const T* scores, const int32_t* codes, int64_t count, Key one, Notes& notes);
  void (*note_rows)(const T* scores, const int32_t* codes, int64_t count, int64_t width, Key one,
                    Notes& notes);
};

using WriteLabels = void (*)(const int32_t* codes, int64_t count, void* labels, int64_t first);

}  // namespace fastmetrics

#define FM_KERNELS "keep_scores.inl"
#include "each_isa.h"

namespace fastmetrics {
namespace {

constexpr int64_t kScores = 2048;  // handled at a time
constexpr int64_t kMostSmallLabels = 255;

// A batch as rows of `width` scores, and of `marks` targets: one for each score, or one for all.
struct Rows {
  Geometry geometry;
  int64_t count;
  int64_t width;
  int64_t marks;
  int64_t score_stride = 1;
  int64_t mark_stride = 1;

  Rows(const Tensor& preds, const Tensor& target, int64_t width, bool multiclass)
      : width(width), marks(multiclass ? 1 : width) {
    const bool label_axis = !multiclass && width > 1;
    require(preds.dim() == target.dim() + (multiclass ? 1 : 0), "`preds` and `target` do not fit.");
    require(!label_axis || target.dim() > 1, "the label axis does not fit the state.");
    if (multiclass || label_axis) {
      require(preds.size(1) == width, "`preds` does not fit the state.");
      score_stride = preds.stride(1);
    }
    if (label_axis) {
      require(target.size(1) == width, "the label axis does not fit the state.");
      mark_stride = target.stride(1);
    }
    for (int64_t axis = 0; axis < target.dim(); ++axis) {
      const int64_t from = multiclass && axis > 0 ? axis + 1 : axis;
      require(preds.size(from) == target.size(axis), "`preds` and `target` do not fit.");
      if (axis != 1 || !label_axis) {
        geometry.push(target.size(axis), preds.stride(from), target.stride(axis));
      }
    }
    count = target.numel() / marks;
  }
};

// Where the rows go; each buffer starts at the first new row.
struct Kept {
  void* scores;
  void* labels;
  double* weights;
  int64_t first;
  WriteLabels write_labels;
};

// The weight of each row's sample, of `per_sample` rows.
struct RowWeights {
  Weights given;
  int64_t per_sample;

  int64_t write(int64_t begin, int64_t end, double* kept) const {
    if (given) {
      return given.read(begin, end, per_sample, kept);
    }
    std::fill_n(kept, end - begin, 1.0);
    return 0;
  }
};

template <class T>
Notes keep_range(const Rows& rows, const T* preds, const LabelReader& labels,
                 const RowWeights& weights, const Kept& kept, int64_t begin, int64_t end) {
  const KeepKernels<T>& kernels = FM_PICK(kKeep<T>);
  const auto one = Score<T>::key(round_nearest<T>(1.0));
  const int64_t width = rows.width;
  const int64_t marks = rows.marks;
  const int64_t tile = std::min(end - begin, std::max<int64_t>(1, kScores / width));
  std::vector<int32_t> codes(tile * marks);
  std::vector<int32_t> column(tile);
  Notes notes;
  for (int64_t first = begin; first < end; first += tile) {
    const int64_t count = std::min(tile, end - first);
    T* scores = static_cast<T*>(kept.scores) + (kept.first + first) * width;
    int64_t done = 0;
    rows.geometry.for_runs(
        first, first + count, [&](int64_t length, int64_t from, int64_t mark_from) {
          const int64_t pitch = rows.geometry.inner_a();
          const int64_t mark_pitch = rows.geometry.inner_b();
          T* own = scores + done * width;
          if (width == 1) {
            kernels.copy(preds + from, pitch, length, own, 1);
          } else if (rows.score_stride == 1 && (pitch == width || length == 1)) {
            kernels.copy(preds + from, 1, length * width, own, 1);
          } else if (rows.score_stride == 1) {
            for (int64_t i = 0; i < length; ++i) {
              kernels.copy(preds + from + i * pitch, 1, width, own + i * width, 1);
            }
          } else {
            for (int64_t c = 0; c < width; ++c) {
              kernels.copy(preds + from + c * rows.score_stride, pitch, length, own + c, width);
            }
          }
          int32_t* own_codes = codes.data() + done * marks;
          if (marks == 1) {
            notes.bad += labels.read(mark_from, mark_pitch, length, own_codes);
          } else if (mark_pitch == rows.mark_stride * width || length == 1) {
            notes.bad += labels.read(mark_from, rows.mark_stride, length * width, own_codes);
          } else {
            for (int64_t c = 0; c < width; ++c) {
              notes.bad +=
                  labels.read(mark_from + c * rows.mark_stride, mark_pitch, length, column.data());
              for (int64_t i = 0; i < length; ++i) {
                own_codes[i * width + c] = column[i];
              }
            }
          }
          done += length;
        });
    if (marks == width) {
      kernels.note_scores(scores, codes.data(), count * width, one, notes);
    } else {
      kernels.note_rows(scores, codes.data(), count, width, one, notes);
    }
    kept.write_labels(codes.data(), count * marks, kept.labels, (kept.first + first) * marks);
    if (kept.weights != nullptr) {
      notes.weights += weights.write(first, first + count, kept.weights + kept.first + first);
    }
  }
  return notes;
}

WriteLabels label_writer(const Tensor& labels, int64_t width, bool multiclass) {
  const bool wide = multiclass && width > kMostSmallLabels;
  require(labels.scalar_type() == (wide ? ScalarType::Int : ScalarType::Byte),
          "`labels` must be uint8, or int32 for more than 255 classes.");
  return wide ? FM_PICK(kWriteLabels<int32_t>) : FM_PICK(kWriteLabels<uint8_t>);
}

void keep_scores_cpu(Tensor state, Tensor events, const Tensor& preds, const Tensor& target,
                     const std::optional<Tensor>& weight, Tensor labels,
                     std::optional<Tensor> weights, int64_t start, bool multiclass,
                     std::optional<int64_t> ignore_index, bool validate) {
  require(state.dim() == 2 && state.size(1) > 0, "the state of keep_scores_ must be [R, C].");
  require(state.scalar_type() == preds.scalar_type(), "`preds` must have the dtype of the state.");
  const int64_t num_samples = leading_size(target);
  const int64_t width = state.size(1);
  const Rows rows(preds, target, width, multiclass);
  require(start >= 0 && rows.count <= state.size(0) - start, "the state has too few rows.");
  require(labels.dim() == (multiclass ? 1 : 2) && labels.size(0) == state.size(0) &&
              (multiclass || labels.size(1) == width),
          "`labels` must have the rows of the state.");
  Kept kept{state_data<void>(state), state_data<void>(labels), nullptr, start,
            label_writer(labels, width, multiclass)};
  require(weights.has_value() || !weight.has_value(), "`weight` needs the buffer `weights`.");
  if (weights.has_value()) {
    require(weights->scalar_type() == ScalarType::Double && weights->dim() == 1 &&
                weights->size(0) == state.size(0),
            "`weights` must be float64 [R].");
    kept.weights = state_data<double>(*weights);
  }
  int64_t* event_counts = events_data(events);
  const RowWeights row_weights{Weights(weight, num_samples, weights.value_or(state)),
                               rows.count / std::max<int64_t>(1, num_samples)};
  if (rows.count == 0) {
    return;
  }
  const LabelRule rule{multiclass ? width : 2, ignore_index};
  const LabelReader reader(target, rule);
  const Partition partition(rows.count,
                            width * static_cast<int64_t>(preds.element_size()) +
                                rows.marks * static_cast<int64_t>(target.element_size()),
                            0, true);
  std::vector<Notes> found(partition.parts);
  with_score_type(preds.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const T* scores = static_cast<const T*>(preds.const_data_ptr());
    partition.run([&](int64_t part, int64_t begin, int64_t end) {
      found[part] = keep_range(rows, scores, reader, row_weights, kept, begin, end);
    });
  });
  Notes notes;
  for (const Notes& part : found) {
    notes += part;
  }
  if (notes.bad > 0 && validate) {
    const LabelArgument argument{"target", target, rule};
    raise_first_bad("keep_scores_", std::span(&argument, 1), ignore_index);
  }
  event_counts[kNan] += notes.nan;
  event_counts[kBadWeight] += notes.weights;
  event_counts[kOutside] += notes.outside;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(fastmetrics, CPU, library) {
  register_op<keep_scores_cpu>(library, "keep_scores_");
}

}  // namespace fastmetrics
