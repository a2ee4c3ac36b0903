// SPDX-License-Identifier: Apache-2.0
#include "health/checks.h"

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <random>
#include <utility>

#include "attempt.h"

namespace teal::health {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Key = std::pair<std::string, std::string>;

// Targets that come together are checked for the first time within this, not all in one instant.
constexpr Milliseconds first_within(1000);

struct Watch {
  Target target;
  RiseFall count;
  TargetStatus status;
  asio::steady_timer timer;
  std::shared_ptr<HttpCall> call;  // while a check is under way
  bool waiting = false;            // in the queue for a socket
  Clock::time_point begun;

  Watch(asio::io_context& io, const Target& t) : target(t), count(t.config.rise, t.config.fall), timer(io) {
    status.service = t.service;
    status.backend = t.backend;
    status.changed = std::chrono::system_clock::now();
    describe();
  }
  void describe() {
    status.check = target.config.check;
    status.endpoint = checked_endpoint(target.endpoint, target.config);
  }
};
using WatchPtr = std::shared_ptr<Watch>;

}  // namespace

// Watches are held by `watches`; timers, calls and the queue only know of them.
struct Checker::Impl : std::enable_shared_from_this<Checker::Impl> {
  asio::io_context& io;
  OnChange on_change;
  const size_t sockets;
  HttpClient client;
  std::map<Key, WatchPtr> watches;
  std::deque<std::weak_ptr<Watch>> queue;
  size_t running = 0;
  std::minstd_rand random{std::random_device{}()};

  Impl(asio::io_context& i, OnChange f, size_t n)
      : io(i), on_change(std::move(f)), sockets(n == 0 ? 1 : n), client(i) {}

  Clock::duration random_between(Clock::duration from, Clock::duration to) {
    return Clock::duration(std::uniform_int_distribution<Clock::rep>(from.count(), to.count())(random));
  }

  void schedule(const WatchPtr& watch, Clock::time_point when) {
    watch->timer.expires_at(when);
    watch->timer.async_wait(
        [weak = weak_from_this(), at = std::weak_ptr(watch)](const boost::system::error_code& error) {
          const auto self = weak.lock();
          const auto watch = at.lock();
          if (error || !self || !watch || watch->call || watch->waiting) return;
          watch->waiting = true;
          self->queue.push_back(watch);
          self->begin_waiting();
        });
  }

  void begin_waiting() {
    while (running < sockets && !queue.empty()) {
      const WatchPtr watch = queue.front().lock();
      queue.pop_front();
      if (!watch || !watch->waiting) continue;
      watch->waiting = false;
      begin(watch);
    }
  }

  void begin(const WatchPtr& watch) {
    running++;
    watch->begun = Clock::now();
    watch->call = attempt(client, watch->target.endpoint, watch->target.config,
                          [weak = weak_from_this(), at = std::weak_ptr(watch)](const AttemptResult& result) {
                            const auto self = weak.lock();
                            const auto watch = at.lock();
                            if (self && watch) self->ended(watch, result);
                          });
  }

  void stop(Watch& watch) {
    watch.timer.cancel();
    watch.waiting = false;
    if (!watch.call) return;
    std::exchange(watch.call, nullptr)->cancel();
    running--;
  }

  void ended(const WatchPtr& watch, const AttemptResult& result) {
    watch->call.reset();
    running--;
    const Milliseconds interval(watch->target.config.interval_ms);
    schedule(watch, watch->begun + random_between(interval * 9 / 10, interval * 11 / 10));
    const bool changed = result.counts && watch->count.take(result.success);
    note(*watch, result, changed);
    begin_waiting();
    if (!changed) return;
    const Change change{watch->target.service, watch->target.backend, watch->count.state(),
                        std::to_string(watch->count.in_a_row()) +
                            (watch->count.in_a_row() == 1 ? " check " : " checks in a row ") +
                            (result.success ? "passed: " : "failed: ") + result.text};
    const OnChange f = on_change;  // the callback may destroy the Checker
    if (f) f(change);
  }

  static void note(Watch& watch, const AttemptResult& result, bool changed) {
    TargetStatus& s = watch.status;
    s.last_result = result.text;
    if (!result.success) s.last_error = result.text;
    s.last_duration = result.duration;
    s.checked = std::chrono::system_clock::now();
    if (changed) s.changed = s.checked;
    if (!result.counts) {
      s.uncounted++;
      return;
    }
    s.last_success = result.success;
    (result.success ? s.successes : s.failures)++;
    s.in_a_row = watch.count.in_a_row();
    s.state = watch.count.state();
  }

  // `old`: what is known of the target up to now, if anything.
  WatchPtr watch_for(const Target& target, const WatchPtr& old) {
    if (old && old->target == target) return old;
    if (old && old->target.endpoint == target.endpoint) {
      stop(*old);
      old->target = target;
      old->count.restart(target.config.rise, target.config.fall);
      old->status.in_a_row = 0;
      old->describe();
      schedule(old, Clock::now());
      return old;
    }
    auto watch = std::make_shared<Watch>(io, target);
    const Milliseconds interval(target.config.interval_ms);
    schedule(watch, Clock::now() + random_between({}, std::min(interval, first_within)));
    return watch;
  }
};

Checker::Checker(asio::io_context& io, OnChange on_change, size_t sockets)
    : impl_(std::make_shared<Impl>(io, std::move(on_change), sockets)) {}

Checker::~Checker() {
  for (const auto& [key, watch] : impl_->watches) impl_->stop(*watch);
  impl_->on_change = nullptr;  // it may hold what is about to go
}

void Checker::set_targets(const std::vector<Target>& targets) {
  std::map<Key, WatchPtr> next;
  for (const Target& target : targets) {
    if (target.config.check == model::CheckKind::none) continue;
    WatchPtr& watch = next[{target.service, target.backend}];
    if (watch) continue;
    const auto old = impl_->watches.find({target.service, target.backend});
    watch = impl_->watch_for(target, old == impl_->watches.end() ? nullptr : old->second);
  }
  for (const auto& [key, watch] : impl_->watches)
    if (const auto kept = next.find(key); kept == next.end() || kept->second != watch) impl_->stop(*watch);
  impl_->watches = std::move(next);
  impl_->begin_waiting();
}

CheckerStatus Checker::status() const {
  CheckerStatus out;
  out.running = impl_->running;
  for (const auto& [key, watch] : impl_->watches) {
    out.waiting += watch->waiting ? 1 : 0;
    out.targets.push_back(watch->status);
  }
  return out;
}

State Checker::state(const std::string& service, const std::string& backend) const {
  const auto found = impl_->watches.find({service, backend});
  return found == impl_->watches.end() ? State::unknown : found->second->count.state();
}

}  // namespace teal::health
