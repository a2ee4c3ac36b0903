// SPDX-License-Identifier: Apache-2.0
#include "health/hooks.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "child.h"
#include "health/http_client.h"

namespace teal::health {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Error = boost::system::error_code;

constexpr size_t output_limit = 4096;
// What comes after output_limit is read and thrown away at 64 KiB a 5 ms, so that a hook that floods its output neither
// blocks nor keeps the control thread busy.
constexpr auto flood_pause = std::chrono::milliseconds(5);
// After SIGKILL: a process in an uninterruptible wait is not waited for longer than this.
constexpr auto kill_patience = std::chrono::seconds(2);

std::string seconds(uint32_t s) {
  return std::to_string(s) + " s";
}

class Run : public HookRun {
 public:
  Run(const model::Hook& hook, std::function<void(const HookResult&)> done) : hook_(hook), done_(std::move(done)) {}

 protected:
  void deliver() {
    result_.duration_ms =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_).count());
    result_.ok = result_.error.empty();
    if (!done_) return;
    const auto done = std::exchange(done_, nullptr);
    done(result_);
  }

  const model::Hook hook_;
  std::function<void(const HookResult&)> done_;  // empty: delivered, or cancelled
  const Clock::time_point begun_ = Clock::now();
  HookResult result_;
};

class WebhookRun : public Run {
 public:
  using Run::Run;

  // `self` is this.
  static void start(const std::shared_ptr<WebhookRun>& self, HttpClient& client, const std::string& json) {
    const auto answered = [self](const HttpReply& reply) { self->answered(reply); };
    const UrlResult url = parse_url(self->hook_.url);
    if (!url.url) {
      self->call_ = client.refuse(url.error, answered);
      return;
    }
    HttpRequest request;
    request.url = *url.url;
    request.method = "POST";
    request.content_type = "application/json";
    request.body = json;
    request.user_agent = "teald-hook";
    request.timeout = std::chrono::seconds(self->hook_.timeout_s);
    request.keep_body = output_limit;
    self->call_ = client.send(std::move(request), answered);
  }

  void cancel() override {
    done_ = nullptr;
    if (const auto call = std::exchange(call_, nullptr)) call->cancel();
  }

 private:
  void answered(const HttpReply& reply) {
    call_.reset();
    result_.status = reply.status;
    result_.output = reply.body;
    result_.truncated = reply.truncated;
    if (!reply.error.empty())
      result_.error = reply.error;
    else if (reply.status < 200 || reply.status > 299)
      result_.error = "status " + std::to_string(reply.status) + ", expected 200 to 299";
    deliver();
  }

  std::shared_ptr<HttpCall> call_;
};

class CommandRun : public Run, public std::enable_shared_from_this<CommandRun> {
 public:
  CommandRun(asio::io_context& io, const model::Hook& hook, std::function<void(const HookResult&)> done)
      : Run(hook, std::move(done)), io_(io), timer_(io), pause_(io), over_(io), output_(io) {}

  void start(const HookContext& context) {
    try {
      child_.emplace(hook_.command, hook_environment(hook_, context), context.json);
      over_.assign(child_->take_pidfd());
      output_.assign(child_->take_output());
    } catch (const std::exception& e) {
      child_.reset();
      result_.error = e.what();
      return asio::post(io_, [self = shared_from_this()] { self->finish(); });
    }
    wait_for_end();
    timer_.expires_at(begun_ + std::chrono::seconds(hook_.timeout_s));
    wait_for_timeout();
    wait_for_output();
  }

  void cancel() override {
    done_ = nullptr;
    if (child_) child_->kill_group();  // its end still comes by the pidfd, and ends the rest
  }

 private:
  void wait_for_end() {
    over_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](const Error& e) {
      if (!e && !self->finished_) self->exited();
    });
  }

  void wait_for_timeout() {
    timer_.async_wait([self = shared_from_this()](const Error& e) {
      if (!e && !self->finished_) self->timed_out();
    });
  }

  // Waits, and reads by itself: a read that Asio had done already would come after exited().
  void wait_for_output() {
    output_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](const Error& e) {
      if (e || self->finished_) return;
      if (!self->read_once() && errno != EAGAIN) return;  // end of the output: the process may go on
      if (!self->result_.truncated) return self->wait_for_output();
      self->pause_.expires_after(flood_pause);
      self->pause_.async_wait([self](const Error& error) {
        if (!error && !self->finished_) self->wait_for_output();
      });
    });
  }

  // False: nothing there (errno EAGAIN), or no more to come (errno anything else).
  bool read_once() {
    errno = 0;
    const ssize_t n = ::read(output_.native_handle(), chunk_.data(), chunk_.size());
    if (n <= 0) return false;
    keep(static_cast<size_t>(n));
    return true;
  }

  void keep(size_t n) {
    const size_t room = output_limit - result_.output.size();
    result_.output.append(chunk_.data(), std::min(n, room));
    result_.truncated = result_.truncated || n > room;
  }

  void exited() {
    const ChildEnd end = child_->wait();
    if (!end.over) return wait_for_end();
    if (end.unknown)
      result_.error = "its exit code is not known: another part of the process waited for it";
    else if (end.signal != 0 && result_.error.empty())
      result_.error = std::string("ended by signal ") + std::to_string(end.signal) + " (" + strsignal(end.signal) + ")";
    else if (end.signal == 0)
      result_.exit_code = end.exit_code;
    if (end.exit_code > 0 && result_.error.empty()) result_.error = "exit code " + std::to_string(end.exit_code);
    while (!result_.truncated && read_once()) {
    }  // what it wrote just before its end
    finish();
  }

  void timed_out() {
    if (!result_.error.empty()) {  // killed, and still there
      result_.error += "; its process does not end";
      return deliver();  // what is left ends with the pidfd, or with the runner
    }
    result_.error = "timed out after " + seconds(hook_.timeout_s) + ", killed";
    child_->kill_group();
    timer_.expires_after(kill_patience);
    wait_for_timeout();
  }

  void finish() {
    finished_ = true;
    timer_.cancel();
    pause_.cancel();
    Error ignored;
    over_.close(ignored);
    output_.close(ignored);
    deliver();
  }

  asio::io_context& io_;
  asio::steady_timer timer_, pause_;
  asio::posix::stream_descriptor over_, output_;
  std::optional<Child> child_;
  bool finished_ = false;
  std::array<char, 65536> chunk_;
};

}  // namespace

struct HookRunner::Impl {
  asio::io_context& io;
  HttpClient client;
  std::vector<std::weak_ptr<HookRun>> runs;

  explicit Impl(asio::io_context& i) : io(i), client(i) {}
};

HookRunner::HookRunner(asio::io_context& io) : impl_(std::make_unique<Impl>(io)) {}

HookRunner::~HookRunner() {
  for (const auto& weak : impl_->runs)
    if (const auto run = weak.lock()) run->cancel();
}

std::shared_ptr<HookRun> HookRunner::run(const model::Hook& hook, const HookContext& context,
                                         std::function<void(const HookResult&)> done) {
  std::erase_if(impl_->runs, [](const std::weak_ptr<HookRun>& run) { return run.expired(); });
  if (hook.command.empty()) {
    auto run = std::make_shared<WebhookRun>(hook, std::move(done));
    WebhookRun::start(run, impl_->client, context.json);
    impl_->runs.push_back(run);
    return run;
  }
  auto run = std::make_shared<CommandRun>(impl_->io, hook, std::move(done));
  run->start(context);
  impl_->runs.push_back(run);
  return run;
}

std::vector<std::string> hook_environment(const model::Hook& hook, const HookContext& context) {
  std::vector<std::string> out;
  for (char** e = environ; *e != nullptr; e++) {
    const std::string_view entry(*e);
    const bool of_systemd = std::ranges::any_of(std::array{"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "TEAL_"},
                                                [&](const char* p) { return entry.starts_with(p); });
    if (!of_systemd) out.emplace_back(entry);
  }
  std::array<char, 32> percent{};
  std::snprintf(percent.data(), percent.size(), "%.3f", context.share * 100.0 / 65536);
  out.push_back("TEAL_GROUP=" + context.group);
  out.push_back("TEAL_PHASE=" + context.phase);
  out.push_back("TEAL_STEP=" + std::to_string(context.step));
  out.push_back("TEAL_SHARE=" + std::to_string(context.share));
  out.push_back(std::string("TEAL_SHARE_PERCENT=") + percent.data());
  out.push_back(std::string("TEAL_FROM=") + model::to_string(context.from));
  out.push_back(std::string("TEAL_TO=") + model::to_string(context.to));
  out.push_back(std::string("TEAL_POINT=") + model::to_string(hook.point));
  out.push_back("TEAL_HOOK=" + hook.name);
  return out;
}

}  // namespace teal::health
