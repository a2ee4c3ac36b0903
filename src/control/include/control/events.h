// SPDX-License-Identifier: Apache-2.0
// What happens, while it happens, for whoever listens at /v1/events: a ring of the newest events that readers follow at
// their own pace. A reader that falls behind the ring is told so by the gap in the numbers, never waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace teal::control {

struct Event {
  uint64_t id = 0;   // rising by one
  std::string type;  // [a-z_]+: rollout, signals
  std::string data;  // JSON, one line, no newline at its end
};

class Events {
 public:
  // `first`: the id of the first event; 0: microseconds since 1970, so that ids go on rising over a restart.
  explicit Events(size_t capacity = 1000, uint64_t first = 0);

  // Keeps the event and calls every listener.
  void publish(std::string type, std::string data);

  [[nodiscard]] uint64_t newest() const {
    return next_ - 1;
  }  // id of the newest event; the first one's less 1: none yet
  [[nodiscard]] const std::deque<Event>& kept() const { return ring_; }

  // False when an event after `last` has left the ring (or `last` is of no event of this process): there is a gap.
  [[nodiscard]] bool follows(uint64_t last) const { return last >= oldest() - 1 && last < next_; }

  // The events after `last` in the form of a stream (WHATWG HTML, server-sent events), oldest first, about `limit`
  // bytes at most; `last` becomes the id of the last of them. Begins with an event "gap" where some are missing.
  std::string stream(uint64_t& last, size_t limit) const;

  // `wake` is called after each publish() for as long as the returned handle lives. It must not publish.
  using Handle = std::shared_ptr<void>;
  [[nodiscard]] Handle listen(std::function<void()> wake) const;

 private:
  [[nodiscard]] uint64_t oldest() const { return next_ - ring_.size(); }

  const size_t capacity_;
  uint64_t next_;
  std::deque<Event> ring_;
  using Listeners = std::list<std::function<void()>>;
  std::shared_ptr<Listeners> listeners_ = std::make_shared<Listeners>();
};

}  // namespace teal::control
