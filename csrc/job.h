// One update of one statistic, in steps, so that several updates can share a walk over a batch.
#pragma once

#include <memory>

#include "parallel.h"

namespace fastmetrics {

// What a job reads, and what it needs per part.
struct Extent {
  int64_t units;  // positions, elements or rows; jobs with as many can share a walk
  int64_t bytes_per_unit;
  int64_t scratch_bytes;
  bool exact;  // integer counts, the same for any partition

  Partition partition() const { return {units, bytes_per_unit, scratch_bytes, exact}; }
};

// Jobs hold references to the tensors of the batch.
class Job {
 public:
  virtual ~Job() = default;

  virtual Extent extent() const = 0;
  // Makes room for the parts; only called when there are units.
  virtual void open(const Partition& partition) = 0;
  // Adds the units [begin, end). The ranges of one part come in order, those of several parts at
  // the same time.
  virtual void add(int64_t part, int64_t begin, int64_t end) = 0;
  // Puts the parts together, and raises for a bad batch; the state is as it was.
  virtual void check() = 0;
  virtual void commit() = 0;

  // Whether this job now does what another new one would have done, in the same walk.
  virtual bool take_over(Job& /*other*/) { return false; }
  // Whether this job must come before those that use the TopProbs of the batch.
  virtual bool leaves_top_probs() const { return false; }
};

// An update of one statistic alone.
inline void run_job(Job& job) {
  const Extent extent = job.extent();
  if (extent.units == 0) {
    return;
  }
  const Partition partition = extent.partition();
  job.open(partition);
  partition.run([&](int64_t part, int64_t begin, int64_t end) { job.add(part, begin, end); });
  job.check();
  job.commit();
}

// A job that checks labels and notes events.
class LabelJob : public Job {
 public:
  void check() final {
    notes_ = combine();
    if (notes_.bad > 0 && validate_) {
      raise_bad_label();
    }
  }

  void commit() final {
    events_[kNan] += notes_.nan;
    events_[kBadWeight] += notes_.weights;
    events_[kOutside] += counts_outside_ ? notes_.outside : 0;
    add_to_state();
  }

 protected:
  LabelJob(Tensor& events, bool validate, bool counts_outside = false)
      : events_(events_data(events)), validate_(validate), counts_outside_(counts_outside) {}

  virtual Notes combine() = 0;
  [[noreturn]] virtual void raise_bad_label() const = 0;
  virtual void add_to_state() = 0;

 private:
  int64_t* events_;
  bool validate_;
  bool counts_outside_;
  Notes notes_;
};

}  // namespace fastmetrics
