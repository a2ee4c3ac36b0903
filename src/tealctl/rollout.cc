// SPDX-License-Identifier: Apache-2.0
// `tealctl rollout`, `drain` and `preview`: what they ask, and how they watch and wait.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "commands.h"
#include "quantities.h"
#include "text.h"

namespace teal::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using Given = po::variables_map;

constexpr std::chrono::seconds patience{60};  // with a teald that does not answer: it may be started anew meanwhile
constexpr auto between = std::chrono::milliseconds(500);

std::string text(const Given& given, const char* name) {
  return given.count(name) > 0 ? given[name].as<std::string>() : std::string();
}

std::string path_of(const std::string& group, const char* rest = "") {
  return "/v1/rollouts/" + percent_encode(group) + rest;
}

Json start_body(const Given& given) {
  Json body = {{"service", text(given, "NAME")}};
  if (given.count("to") > 0) body["to"] = text(given, "to");
  if (given.count("steps") > 0) body["steps"] = shares_of("steps", text(given, "steps"));
  if (given.count("hold") > 0) body["hold_s"] = seconds_of("hold", text(given, "hold"));
  if (given.count("bake") > 0) body["bake_s"] = seconds_of("bake", text(given, "bake"));
  if (given.count("drain-deadline") > 0)
    body["drain_deadline_s"] = seconds_of("drain-deadline", text(given, "drain-deadline"));
  if (given.count("at-deadline") > 0) body["at_deadline"] = text(given, "at-deadline");
  if (given.count("ignore-affinity") > 0) body["ignore_affinity"] = true;
  if (given.count("again") > 0) body["again"] = true;
  if (given.count("force") > 0) body["force"] = listed_in("force", text(given, "force"));
  if (given.count("dry-run") > 0) body["dry_run"] = true;
  return body;
}

// The time limit of --timeout, if there is one.
std::optional<Clock::time_point> limit_of(const Given& given) {
  if (given.count("timeout") == 0) return {};
  return Clock::now() + std::chrono::seconds(seconds_of("timeout", text(given, "timeout")));
}

// What `target` says, asked again while teald does not answer, for as long as our patience and the limit last.
Answer ask_patiently(const Session& session, const std::string& target, const std::optional<Clock::time_point>& limit) {
  const auto until = Clock::now() + patience;
  for (;;) {
    try {
      return session.client.request("GET", target);
    } catch (const Unreachable&) {
      const auto now = Clock::now();
      if (now >= until || (limit && now >= *limit)) throw;
    }
    std::this_thread::sleep_for(between);
  }
}

// One line that tells the rollouts' states apart, for those who read a log.
std::string line_of(const Json& rollout) {
  const std::string all = render_rollout(rollout);
  const size_t second = all.find('\n') + 1;
  return all.substr(second, all.find('\n', second) - second + 1);
}

class Picture {
 public:
  Picture(const Session& session, bool watch)
      : json_(session.json), watch_(watch), redraw_(isatty(STDOUT_FILENO) != 0 && !session.json) {}

  void show(const Answer& answer, const Json& rollout) {
    if (!watch_) return;
    if (json_) {
      fputs(answer.body.c_str(), stdout);
    } else if (redraw_) {
      printf("\x1b[H\x1b[2J%s", render_rollout(rollout).c_str());
    } else if (const std::string state = rollout.at("phase").dump() + rollout.at("step").dump() +
                                         rollout.at("paused").dump() + rollout.at("outcome").dump();
               state != last_) {
      last_ = state;
      fputs(line_of(rollout).c_str(), stdout);
    }
    fflush(stdout);
  }

 private:
  bool json_, watch_, redraw_;
  std::string last_;
};

Exit exit_of(const std::string& outcome) {
  return outcome == "done" ? done : outcome == "rolled_back" ? rolled_back : aborted;
}

// Follows the group's rollout to its end. A rollout that came after it counts as its end, too: it was aborted.
Exit follow(const Session& session, const Given& given, const std::string& group) {
  const auto limit = limit_of(given);
  Picture picture(session, given.count("watch") > 0);
  std::optional<uint64_t> id;
  for (;;) {
    const Answer answer = ask_patiently(session, path_of(group), limit);
    if (answer.status != 200) return show(session, answer, render_rollout);
    const Json rollout = Json::parse(answer.body);
    picture.show(answer, rollout);
    const auto is = rollout.at("id").get<uint64_t>();
    const bool replaced = id.value_or(is) != is;
    id = is;
    const auto outcome = rollout.at("outcome").get<std::string>();
    const auto phase = rollout.at("phase").get<std::string>();
    if (replaced || (!outcome.empty() && (phase == "idle" || phase == "done"))) {
      if (given.count("watch") == 0)
        fputs(session.json ? answer.body.c_str() : render_rollout(rollout).c_str(), stdout);
      return replaced ? aborted : exit_of(outcome);
    }
    if (limit && Clock::now() >= *limit) {
      fprintf(stderr, "tealctl: rollout %llu of %s is not over within --timeout %s; it goes on\n",
              static_cast<unsigned long long>(is), printable(group).c_str(), text(given, "timeout").c_str());
      return timed_out;
    }
    std::this_thread::sleep_for(between);
  }
}

// Says what the call did, and then follows the rollout if that was asked for.
Exit call(const Session& session, const Given& given, const std::string& target, const Json& body) {
  const Answer answer = session.client.request("POST", target, body.empty() ? "{}" : body.dump());
  const bool follows = given.count("watch") > 0 || given.count("wait") > 0;
  if (!follows || answer.status != 200) return show(session, answer, render_rollout_call);
  if (!session.json) show(session, answer, render_rollout_call);
  return follow(session, given, Json::parse(answer.body).at("group").get<std::string>());
}

Exit status(const Session& session, const Given& given) {
  const bool follows = given.count("watch") > 0 || given.count("wait") > 0;
  if (given.count("NAME") == 0) {
    if (follows) throw UsageError("found no NAME, expected: tealctl rollout status NAME --watch or --wait");
    return show(session, session.client.request("GET", "/v1/rollouts"), render_rollouts);
  }
  if (follows) return follow(session, given, text(given, "NAME"));
  return show(session, session.client.request("GET", path_of(text(given, "NAME"))), render_rollout);
}

struct Action {
  const char* name;
  std::vector<const char*> options;
};

// Which options an action takes, beside those of all of them.
const std::vector<Action>& actions() {
  static const std::vector<Action> list = {
      {"start",
       {"to", "steps", "hold", "bake", "drain-deadline", "at-deadline", "ignore-affinity", "again", "force",
        "dry-run"}},
      {"pause", {}},
      {"resume", {}},
      {"promote", {"all"}},
      {"abort", {"flows", "force"}},
      {"status", {}},
  };
  return list;
}

void check_action(const Given& given, const std::string& action) {
  std::string known;
  for (const Action& a : actions()) {
    if (action != a.name) {
      known += (known.empty() ? "" : ", ") + std::string(a.name);
      continue;
    }
    for (const Action& other : actions())
      for (const char* option : other.options) {
        bool own = false;
        for (const char* mine : a.options) own = own || std::string(mine) == option;
        if (!own && given.count(option) > 0)
          throw UsageError("option --" + std::string(option) + ": found with " + action + ", expected with " +
                           other.name);
      }
    if (given.count("timeout") > 0 && given.count("wait") == 0 && given.count("watch") == 0)
      throw UsageError("option --timeout: found without --wait or --watch, expected with one of them");
    return;
  }
  throw UsageError("found the action \"" + action + "\", expected one of start, pause, resume, promote, abort, status");
}

}  // namespace

void rollout_options(po::options_description_easy_init add) {
  const auto value = [](const char* name) { return po::value<std::string>()->value_name(name); };
  add("to", value("POOL"), "start: the target, green or blue (default: the standby pool)");
  add("steps", value("SHARES"), "start: shares of new flows, such as 1%,10%,50%,100%");
  add("hold", value("TIME"), "start: time at each step but the last, such as 60s");
  add("bake", value("TIME"), "start: time at the last step, such as 10m");
  add("drain-deadline", value("TIME"), "start: how long the old pool may drain, such as 30m; 0: for ever");
  add("at-deadline", value("WHAT"), "start: flows left then: keep or reset");
  add("ignore-affinity", "start: clients do not follow their earlier connections");
  add("again", "start: although the last one was rolled back and the pool is the same");
  add("force", value("NAME,..."), "start, abort: although NAME stands against it, such as no_ready_backend");
  add("dry-run", "start: only say what would happen");
  add("all", "promote: straight to the last step");
  add("flows", value("WHAT"), "abort: flows on the target: keep or reset (default: as configured)");
  add("watch", "draw progress and signals until it is over");
  add("wait", "until it is over; the exit code tells how");
  add("timeout", value("TIME"), "at most so long, with --wait or --watch (exit 7)");
}

Exit run_rollout(const Session& session, const Given& given) {
  const std::string action = text(given, "ACTION"), name = text(given, "NAME");
  check_action(given, action);
  if (action == "status") return status(session, given);
  if (name.empty()) throw UsageError("found no NAME, expected: tealctl [OPTIONS] rollout " + action + " NAME");
  if (action == "start") {
    const Json body = start_body(given);
    if (given.count("dry-run") > 0)
      return show(session, session.client.request("POST", "/v1/rollouts", body.dump()), render_rehearsal);
    return call(session, given, "/v1/rollouts", body);
  }
  Json body = Json::object();
  if (given.count("all") > 0) body["all"] = true;
  if (given.count("flows") > 0) body["flows"] = text(given, "flows");
  if (given.count("force") > 0) {
    if (text(given, "force") != "no_ready_backend")
      throw UsageError("option --force: found \"" + text(given, "force") + "\" with abort, expected no_ready_backend");
    body["force"] = true;
  }
  return call(session, given, path_of(name, ("/" + action).c_str()), body);
}

void drain_options(po::options_description_easy_init add) {
  add("wait", "until no flow is left");
  add("timeout", po::value<std::string>()->value_name("TIME"), "with --wait: at most so long (exit 7)");
}

Exit run_drain(const Session& session, const Given& given) {
  if (given.count("timeout") > 0 && given.count("wait") == 0)
    throw UsageError("option --timeout: found without --wait, expected with it");
  const std::string target = "/v1/services/" + percent_encode(text(given, "SERVICE")) + "/drain";
  const auto limit = limit_of(given);
  for (;;) {
    const Answer answer =
        given.count("wait") > 0 ? ask_patiently(session, target, limit) : session.client.request("GET", target);
    const bool over = answer.status != 200 || Json::parse(answer.body).at("flows").get<uint64_t>() == 0;
    if (over || given.count("wait") == 0) return show(session, answer, render_drain);
    if (limit && Clock::now() >= *limit) {
      show(session, answer, render_drain);
      return timed_out;
    }
    std::this_thread::sleep_for(between);
  }
}

void preview_options(po::options_description_easy_init add) {
  add("set", po::value<std::string>()->value_name("PREFIX,..."), "clients that reach the standby pool; none: nobody");
}

Exit run_preview(const Session& session, const Given& given) {
  const std::string target = "/v1/services/" + percent_encode(text(given, "SERVICE")) + "/preview";
  if (given.count("set") == 0) return show(session, session.client.request("GET", target), render_preview);
  const std::string prefixes = text(given, "set");
  Json body = {{"clients", Json::array()}};
  if (prefixes != "none")
    for (const auto& prefix : listed_in("set", prefixes)) body["clients"].push_back(prefix);
  return show(session, session.client.request("PUT", target, body.dump()), render_preview);
}

}  // namespace teal::ctl
