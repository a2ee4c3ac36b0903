// SPDX-License-Identifier: Apache-2.0
// Runs what a rollout calls at its points: executables and webhooks.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/release_config.h"

namespace teal::health {

// What a hook is told: an executable in its environment, and the JSON on its standard input; a webhook the JSON alone.
struct HookContext {
  std::string group;   // TEAL_GROUP
  std::string phase;   // TEAL_PHASE
  uint32_t step = 0;   // TEAL_STEP, as the caller counts
  uint32_t share = 0;  // TEAL_SHARE: the target pool's, of new flows, in 65,536ths; and TEAL_SHARE_PERCENT
  model::Pool from = model::Pool::blue, to = model::Pool::green;  // TEAL_FROM, TEAL_TO
  std::string json;                                               // the rollout's state
};

struct HookResult {
  bool ok = false;     // exit code 0; status 200 to 299
  int exit_code = -1;  // -1: did not exit by itself, or a webhook
  int status = 0;      // 0: no answer, or an executable
  std::string output;  // first 4 KiB of standard output and error together, or of the answer's body
  bool truncated = false;
  uint64_t duration_ms = 0;
  std::string error;  // why it is not ok, one line; empty when it is
};

// A hook on its way. cancel(): killed, or its connection closed; the callback is not called (any more).
class HookRun {
 public:
  virtual ~HookRun() = default;
  virtual void cancel() = 0;
};

// For use by the io_context's one thread. Nothing blocks but the start of an executable (vfork to exec).
class HookRunner {
 public:
  explicit HookRunner(boost::asio::io_context& io);
  ~HookRunner();  // cancels what is running
  HookRunner(const HookRunner&) = delete;
  HookRunner& operator=(const HookRunner&) = delete;

  // Calls `done` exactly once, never from within run(), unless cancelled. An executable is over when its own process
  // is; what is then left of its process group is killed, as the whole group is at hook.timeout_s.
  std::shared_ptr<HookRun> run(const model::Hook& hook, const HookContext& context,
                               std::function<void(const HookResult&)> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The environment of an executable: teald's own, without what systemd meant for teald, and the TEAL_ variables.
std::vector<std::string> hook_environment(const model::Hook& hook, const HookContext& context);

}  // namespace teal::health
