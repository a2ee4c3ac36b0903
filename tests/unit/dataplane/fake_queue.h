// SPDX-License-Identifier: Apache-2.0
// A raw port's queue in memory: what a test puts in is received, what is sent can be waited for.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "dataplane/raw_port.h"

namespace teal::dataplane::test {

using Bytes = std::vector<uint8_t>;

class FakeQueue final : public RawQueue {
 public:
  size_t room = 1000;              // frames that wait for a flush
  std::atomic<unsigned> looks{0};  // calls of receive
  std::atomic<bool> stuck{false};  // as if frames still waited for one

  FakeQueue() = default;
  ~FakeQueue() override {
    if (event_ >= 0) close(event_);
  }
  void can_be_awaited() { event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }  // before anybody uses it
  [[nodiscard]] int awaited() const override { return stuck ? -1 : event_; }

  unsigned receive(unsigned max, Take take, void* context) override {
    looks++;
    const std::lock_guard lock(mutex_);
    callers_.insert(std::this_thread::get_id());
    unsigned n = 0;
    for (; n < max && !in_.empty(); n++) {
      take(context, Segment(in_.front()));
      in_.pop_front();
    }
    eventfd_t ignored;
    if (event_ >= 0 && n != 0 && in_.empty()) eventfd_read(event_, &ignored);
    return n;
  }
  bool send(const Segment* segments, unsigned count) override {
    const std::lock_guard lock(mutex_);
    callers_.insert(std::this_thread::get_id());
    if (waiting_.size() >= room) return false;
    Bytes& f = waiting_.emplace_back();
    for (unsigned i = 0; i < count; i++) f.insert(f.end(), segments[i].begin(), segments[i].end());
    segments_ = count;
    return true;
  }
  void flush() override {
    const std::lock_guard lock(mutex_);
    callers_.insert(std::this_thread::get_id());
    for (; !waiting_.empty(); waiting_.pop_front()) out_.push_back(std::move(waiting_.front()));
  }
  [[nodiscard]] uint64_t missed() const override { return 7; }

  void put(Bytes frame) {
    const std::lock_guard lock(mutex_);
    in_.push_back(std::move(frame));
    if (event_ >= 0) eventfd_write(event_, 1);
  }
  // The next frame that left, within a second.
  std::optional<Bytes> next() {
    for (int ms = 0; ms < 1000; ms++) {
      {
        const std::lock_guard lock(mutex_);
        if (!out_.empty()) {
          Bytes f = std::move(out_.front());
          out_.pop_front();
          return f;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return std::nullopt;
  }
  size_t left() {  // frames that left and nobody took
    const std::lock_guard lock(mutex_);
    return out_.size();
  }
  size_t callers() {  // threads that have used it
    const std::lock_guard lock(mutex_);
    return callers_.size();
  }
  unsigned segments() {  // of the last frame sent
    const std::lock_guard lock(mutex_);
    return segments_;
  }

 private:
  std::mutex mutex_;
  std::deque<Bytes> in_, waiting_, out_;
  std::set<std::thread::id> callers_;
  unsigned segments_ = 0;
  int event_ = -1;  // can be read while there are frames
};

}  // namespace teal::dataplane::test
