// SPDX-License-Identifier: Apache-2.0
#include "health/hooks.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "loopback.h"

namespace teal::health {
namespace {

class HooksTest : public testing::Test {
 protected:
  asio::io_context io;
  TemporaryDirectory directory;
  std::unique_ptr<HookRunner> runner = std::make_unique<HookRunner>(io);
  HookContext context{"shop", "shifting", 2, 6554, model::Pool::blue, model::Pool::green, R"({"step": 2})"};

  model::Hook script(const std::string& text) {
    const std::string path = directory / "hook" + std::to_string(scripts_++);
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    chmod(path.c_str(), 0700);
    model::Hook hook;
    hook.point = model::HookPoint::pre_step;
    hook.name = "warm";
    hook.command = {path, "one", "two words"};
    hook.timeout_s = 20;
    return hook;
  }
  HookResult run(const model::Hook& hook, milliseconds limit = milliseconds(20000)) {
    std::optional<HookResult> got;
    const auto handle = runner->run(hook, context, [&](const HookResult& r) {
      EXPECT_FALSE(got) << "called twice";
      got = r;
    });
    EXPECT_FALSE(got) << "called from within run()";
    EXPECT_TRUE(run_until(
        io, [&] { return got.has_value(); }, limit))
        << "never called";
    return got.value_or(HookResult{});
  }
  std::string file(const std::string& name) {
    std::ifstream in(directory / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // That the process is gone, or will be in a moment (init reaps it, not we). An unreaped one is a zombie, not gone.
  bool gone(pid_t pid) {
    return run_until(
        io, [&] { return kill(pid, 0) != 0 && errno == ESRCH; }, milliseconds(3000));
  }
  static bool has_children() {
    siginfo_t info{};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
  }

 private:
  int scripts_ = 0;
};

TEST_F(HooksTest, ZeroIsOk) {
  const HookResult r = run(script("echo said; echo too >&2; echo \"$#:$1:$2\""));
  EXPECT_TRUE(r.ok);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.exit_code, 0);
  EXPECT_EQ(r.output, "said\ntoo\n2:one:two words\n");
  EXPECT_FALSE(r.truncated);
  EXPECT_FALSE(has_children());
}

TEST_F(HooksTest, AnythingElseIsNot) {
  HookResult r = run(script("echo no room; exit 3"));
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.exit_code, 3);
  EXPECT_EQ(r.error, "exit code 3");
  EXPECT_EQ(r.output, "no room\n");
  r = run(script("kill -TERM $$"));
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.exit_code, -1);
  EXPECT_EQ(r.error, "ended by signal 15 (Terminated)");
  EXPECT_FALSE(has_children());
}

TEST_F(HooksTest, WhatCannotBeRunIsNamed) {
  model::Hook hook = script("exit 0");
  hook.command = {directory / "missing"};
  EXPECT_EQ(run(hook).error, "cannot run " + directory / "missing" + ": No such file or directory");
  std::ofstream(directory / "plain") << "exit 0\n";
  hook.command = {directory / "plain"};
  EXPECT_EQ(run(hook).error, "cannot run " + directory / "plain" + ": Permission denied");
  chmod((directory / "plain").c_str(), 0700);  // and no shell is tried for it
  EXPECT_EQ(run(hook).error, "cannot run " + directory / "plain" + ": Exec format error");
  EXPECT_FALSE(run(hook).ok);
}

TEST_F(HooksTest, IsToldWhereTheRolloutStands) {
  setenv("NOTIFY_SOCKET", "/run/none", 1);
  setenv("HOOKS_TEST_OWN", "kept", 1);
  model::Hook hook = script("env > " + directory / "env" + "; cat > " + directory / "in" + "; cat /dev/stdin > " +
                            directory / "again");
  EXPECT_TRUE(run(hook).ok);
  unsetenv("NOTIFY_SOCKET");
  unsetenv("HOOKS_TEST_OWN");
  const std::string env = "\n" + file("env");
  for (const char* line :
       {"TEAL_GROUP=shop", "TEAL_PHASE=shifting", "TEAL_STEP=2", "TEAL_SHARE=6554", "TEAL_SHARE_PERCENT=10.001",
        "TEAL_FROM=blue", "TEAL_TO=green", "TEAL_POINT=pre_step", "TEAL_HOOK=warm", "HOOKS_TEST_OWN=kept"})
    EXPECT_NE(env.find("\n" + std::string(line) + "\n"), std::string::npos) << line << " in" << env;
  EXPECT_EQ(env.find("NOTIFY_SOCKET"), std::string::npos);
  EXPECT_EQ(file("in"), context.json);
  EXPECT_EQ(file("again"), context.json);
}

TEST_F(HooksTest, InheritsNoDescriptorsAndNoBlockedSignals) {
  const int leak = open("/dev/null", O_RDONLY);  // not close-on-exec
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto handler = signal(SIGPIPE, SIG_IGN);
  const HookResult r = run(script("ls /proc/$$/fd | tr '\\n' ' '; exec grep -E 'SigBlk|SigIgn' /proc/self/status"));
  signal(SIGPIPE, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(leak);
  // 10: the shell's own descriptor of the script.
  EXPECT_TRUE(r.output.starts_with("0 1 10 2 ") || r.output.starts_with("0 1 2 ")) << r.output;
  const auto mask = [&](const std::string& name) {
    return std::stoull(r.output.substr(r.output.find(name) + name.size()), nullptr, 16);
  };
  EXPECT_EQ(mask("SigBlk:"), 0u);
  EXPECT_EQ(mask("SigIgn:") & 0x7fffffff, 0u);  // signals 1 to 31; 32 and 33 are glibc's own
}

TEST_F(HooksTest, OneThatNeverEndsIsKilledWithItsChildren) {
  model::Hook hook = script("sleep 1000 & echo $! > " + directory / "child" + "; echo $$ > " + directory / "self" +
                            "; trap '' TERM; echo begun; while :; do sleep 1000; done");
  hook.timeout_s = 1;
  const HookResult r = run(hook, milliseconds(8000));
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.error, "timed out after 1 s, killed");
  EXPECT_EQ(r.exit_code, -1);
  EXPECT_EQ(r.output, "begun\n");
  EXPECT_GE(r.duration_ms, 1000u);
  EXPECT_LT(r.duration_ms, 4000u);
  EXPECT_TRUE(gone(std::stoi(file("self"))));
  EXPECT_TRUE(gone(std::stoi(file("child"))));
  EXPECT_FALSE(has_children());
}

TEST_F(HooksTest, OneThatLeavesAChildIsOverAndTheChildKilled) {
  const HookResult r = run(script("sleep 1000 & echo $! > " + directory / "child" + "; echo done"), milliseconds(8000));
  EXPECT_TRUE(r.ok) << r.error;
  EXPECT_EQ(r.output, "done\n");
  EXPECT_TRUE(gone(std::stoi(file("child"))));
}

TEST_F(HooksTest, OfMuchOutputTheBeginningIsKept) {
  const HookResult r =
      run(script("i=0; while [ $i -lt 1000 ]; do echo \"line $i of a hook that says a lot\"; i=$((i+1)); done"
                 "; head -c 1000000 /dev/zero; exit 4"));
  EXPECT_EQ(r.exit_code, 4);
  EXPECT_EQ(r.output.size(), 4096u);
  EXPECT_TRUE(r.truncated);
  EXPECT_TRUE(r.output.starts_with("line 0 of a hook"));
}

TEST_F(HooksTest, AFloodDoesNotKeepTheThreadBusy) {
  model::Hook hook = script("exec yes");
  hook.timeout_s = 1;
  timespec before{}, after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  const HookResult r = run(hook, milliseconds(8000));
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  EXPECT_EQ(r.error, "timed out after 1 s, killed");
  EXPECT_TRUE(r.truncated);
  EXPECT_EQ(r.output.substr(0, 4), "y\ny\n");
  const double busy_s =
      static_cast<double>(after.tv_sec - before.tv_sec) + static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
  EXPECT_LT(busy_s, 0.1);
}

TEST_F(HooksTest, ManyAtOnceLeaveNothingBehind) {
  size_t over = 0;
  const model::Hook hook = script("cat; exit 5");
  for (int i = 0; i < 20; i++)
    runner->run(hook, context, [&](const HookResult& r) {
      over++;
      EXPECT_EQ(r.exit_code, 5);
      EXPECT_EQ(r.output, context.json);
    });
  EXPECT_TRUE(run_until(
      io, [&] { return over == 20; }, milliseconds(20000)));
  EXPECT_FALSE(has_children());
}

TEST_F(HooksTest, CancelledIsKilledAndNotCalled) {
  const model::Hook hook = script("echo $$ > " + directory / "self.new" + "; mv " + directory / "self.new" + " " +
                                  directory / "self" + "; sleep 1000");
  bool called = false;
  const auto begin = [&] {
    const auto handle = runner->run(hook, context, [&](const HookResult&) { called = true; });
    EXPECT_TRUE(run_until(io, [&] { return std::filesystem::exists(directory / "self"); }));
    const pid_t pid = std::stoi(file("self"));
    std::filesystem::remove(directory / "self");
    return std::pair(handle, pid);
  };
  const auto first = begin();
  first.first->cancel();
  EXPECT_TRUE(gone(first.second));
  const auto second = begin();
  runner.reset();  // teald ends
  EXPECT_TRUE(gone(second.second));
  EXPECT_FALSE(called);
  EXPECT_FALSE(has_children());
}

TEST_F(HooksTest, WebhookPostsTheState) {
  Server server(io, {.reply = answer(204, "")});
  model::Hook hook;
  hook.name = "tell";
  hook.url = server.url("/rollout?x=1");
  hook.timeout_s = 1;
  HookResult r = run(hook);
  EXPECT_TRUE(r.ok) << r.error;
  EXPECT_EQ(r.status, 204);
  EXPECT_EQ(r.exit_code, -1);
  const std::string& sent = server.requests.at(0);
  EXPECT_TRUE(sent.starts_with("POST /rollout?x=1 HTTP/1.1\r\n")) << sent;
  EXPECT_NE(sent.find("\r\nContent-Type: application/json\r\n"), std::string::npos) << sent;
  EXPECT_TRUE(sent.ends_with("\r\n\r\n" + context.json)) << sent;

  server.behaviour.reply = answer(500, std::string(5000, 'e'));
  r = run(hook);
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.status, 500);
  EXPECT_EQ(r.error, "status 500, expected 200 to 299");
  EXPECT_EQ(r.output, std::string(4096, 'e'));
  EXPECT_TRUE(r.truncated);
  server.behaviour = {.reply = answer(302, "", "Location: /elsewhere\r\n")};
  EXPECT_FALSE(run(hook).ok);
  server.behaviour = {.silent = true};
  EXPECT_TRUE(run(hook).error.starts_with("timed out after 1000 ms"));
  hook.url = "nowhere";
  EXPECT_NE(run(hook).error.find("expected http://HOST"), std::string::npos);
}

}  // namespace
}  // namespace teal::health
