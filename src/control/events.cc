// SPDX-License-Identifier: Apache-2.0
#include "control/events.h"

#include <chrono>

namespace teal::control {
namespace {

uint64_t microseconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

Events::Events(size_t capacity, uint64_t first)
    : capacity_(capacity), next_(first != 0 ? first : microseconds_since_1970()) {}

void Events::publish(std::string type, std::string data) {
  ring_.push_back({next_++, std::move(type), std::move(data)});
  if (ring_.size() > capacity_) ring_.pop_front();
  // A listener may go while it is called, its own handle included: the next one is looked up before.
  const auto listeners = listeners_;
  for (auto at = listeners->begin(); at != listeners->end();) {
    const auto wake = *at++;
    wake();
  }
}

std::string Events::stream(uint64_t& last, size_t limit) const {
  std::string out;
  if (!follows(last)) {
    out = "event: gap\ndata: {\"after\":" + std::to_string(last) + ",\"before\":" + std::to_string(oldest()) + "}\n\n";
    last = oldest() - 1;
  }
  for (size_t i = last + 1 - oldest(); i < ring_.size() && out.size() < limit; ++i) {
    const Event& event = ring_[i];
    out += "id: " + std::to_string(event.id) + "\nevent: " + event.type + "\ndata: " + event.data + "\n\n";
    last = event.id;
  }
  return out;
}

Events::Handle Events::listen(std::function<void()> wake) const {
  const auto at = listeners_->insert(listeners_->end(), std::move(wake));
  return {nullptr, [listeners = listeners_, at](void*) { listeners->erase(at); }};
}

}  // namespace teal::control
