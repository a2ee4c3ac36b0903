// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "render.h"
#include "text.h"

namespace teal::ctl {
namespace {

constexpr int bar_width = 40;
constexpr size_t events_shown = 5;

std::string word(const Json& object, const char* key) {
  return object.at(key).get<std::string>();
}
uint64_t number(const Json& object, const char* key) {
  return object.at(key).get<uint64_t>();
}
std::string count(const Json& object, const char* key) {
  return grouped(number(object, key));
}
double real(const Json& object, const char* key) {
  return object.at(key).get<double>();
}

std::string joined(const Json& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : ", ") + w.get<std::string>();
  return out;
}

std::string name_of(const Json& r) {
  return "rollout " + std::to_string(number(r, "id")) + " of " + word(r, "group");
}

std::string one_decimal(double value) {
  char out[32];
  snprintf(out, sizeof out, "%.1f", value);
  return out;
}

// "12.5 %", and for small shares as many digits as it takes to see them.
std::string share(double value) {
  char out[32];
  snprintf(out, sizeof out, value > 0 && value < 0.01 ? "%.3f %%" : "%.1f %%", value * 100);
  return out;
}

std::string bar(double done) {
  const int full = static_cast<int>(done * bar_width + 0.5);
  return "[" + std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(bar_width - full), '.') +
         "]";
}

// The upper edge of the bucket in which the percentile lies: "< 3.9 ms".
std::string percentile(const Json& buckets, double wanted) {
  uint64_t all = 0, below = 0;
  for (const auto& b : buckets) all += b.get<uint64_t>();
  if (all == 0) return "-";
  for (size_t i = 0; i < buckets.size(); i++) {
    below += buckets[i].get<uint64_t>();
    if (static_cast<double>(below) < wanted * static_cast<double>(all)) continue;
    const bool last = i + 1 == buckets.size();
    const uint64_t edge_ns = (uint64_t{1} << (last ? i - 1 : i)) * 1'000'000'000 / 4096;
    return (last ? "> " : "< ") + nanoseconds(edge_ns);
  }
  return "-";
}

std::string state_of(const Json& r) {
  const std::string phase = word(r, "phase"), outcome = word(r, "outcome");
  const auto& steps = r.at("steps");
  std::string out = outcome.empty() || phase == "rolling_back" ? phase : outcome;
  if (outcome == "rolled_back" && r.at("automatic").get<bool>()) out += " on its own";
  if (phase == "shifting" || phase == "baking")
    out += ", step " + std::to_string(number(r, "step")) + " of " + std::to_string(steps.size());
  out += ", " + share(real(r, "share")) + " of new flows go to " + word(r, "to");
  if (r.at("paused").get<bool>()) out += ", PAUSED";
  return out;
}

std::string times_of(const Json& r) {
  if (!word(r, "outcome").empty()) return "";
  std::string out = ", for " + duration(number(r, "elapsed_s"));
  const auto& eta = r.at("eta_s");
  const bool drains = word(r, "phase") == "draining";
  if (!eta.is_null()) out += (drains ? ", empty in " : ", drains in ") + duration(eta.get<uint64_t>());
  return out;
}

std::string signals_of(const Json& r) {
  Table table({"POOL", "ROLE", ">SHARE", ">FLOWS", ">BEGUN", ">HANDSHAKES", ">REFUSED", ">TIMED OUT", ">SYN AGAIN",
               ">EARLY RST", ">RST", ">P50", ">P99"});
  for (const auto& s : r.at("signals"))
    table.row({word(s, "pool"), word(s, "pool") == word(r, "to") ? "target" : "other", share(real(s, "share")),
               count(s, "flows"), count(s, "begun"), count(s, "handshakes"), count(s, "refused"), count(s, "timed_out"),
               count(s, "syn_retransmits"), count(s, "early_resets"), count(s, "resets"),
               percentile(s.at("handshake"), 0.5), percentile(s.at("handshake"), 0.99)});
  return table.text();
}

std::string pinned_of(const Json& drain) {
  if (number(drain, "pinned") == 0) return "";
  return ", affinity holds " + count(drain, "pinned") + " clients there";
}

}  // namespace

std::string render_rollout(const Json& r) {
  std::string out = printable(name_of(r) + " (" + joined(r.at("services")) + "): " + word(r, "from") + " to " +
                              word(r, "to") + ", started by " + word(r, "started_by")) +
                    "\n" + bar(real(r, "progress")) + " " + printable(state_of(r) + times_of(r)) + "\n";
  if (const std::string reason = word(r, "reason"); !reason.empty()) out += printable("why: " + reason) + "\n";
  if (const std::string hook = word(r, "waiting_for"); !hook.empty()) out += printable("waits for hook " + hook) + "\n";
  if (const std::string verdict = word(r, "verdict"); !verdict.empty() && word(r, "outcome").empty())
    out += printable("rules: " + verdict) + "\n";
  if (const auto& d = r.at("drain"); !d.is_null())
    out += count(d, "flows") + " of " + count(d, "begun_with") + " flows are left on " + word(d, "pool") +
           pinned_of(d) + "\n";
  if (word(r, "outcome").empty()) out += "\n" + signals_of(r);
  const auto& history = r.at("history");
  if (!history.empty()) out += "\n";
  for (size_t i = history.size() - std::min(history.size(), events_shown); i < history.size(); i++)
    out += printable(word(history[i], "time") + "  " + word(history[i], "text")) + "\n";
  return out;
}

std::string render_rollout_call(const Json& r) {
  return printable(name_of(r) + ": " + word(r, "message")) + "\n";
}

std::string render_rollouts(const Json& reply) {
  Table table({"GROUP", ">ID", "FROM", "TO", "STATE", ">SHARE", ">PROGRESS", ">ETA"});
  for (const auto& r : reply.at("rollouts")) {
    const std::string outcome = word(r, "outcome");
    const auto& eta = r.at("eta_s");
    table.row({word(r, "group"), std::to_string(number(r, "id")), word(r, "from"), word(r, "to"),
               (outcome.empty() ? word(r, "phase") : outcome) + (r.at("paused").get<bool>() ? " (paused)" : ""),
               share(real(r, "share")), percent(real(r, "progress")),
               eta.is_null() ? "-" : duration(eta.get<uint64_t>())});
  }
  return table.rows() == 0 ? "no rollout has been started\n" : table.text();
}

std::string render_rehearsal(const Json& r) {
  std::string out = printable("a rollout of " + word(r, "group") + " (" + joined(r.at("services")) + ") from " +
                              word(r, "from") + " to " + word(r, "to")) +
                    "\n\n";
  Table steps({">STEP", ">SHARE", ">MOVES", ">HOLD", ">NEW FLOWS/S"});
  size_t n = 0;
  const auto& all = r.at("steps");
  for (const auto& s : all) {
    const bool last = ++n == all.size();
    steps.row({std::to_string(n), share(real(s, "share")), share(real(s, "moves")),
               duration(last ? number(r, "bake_s") : number(s, "hold_s")), one_decimal(real(s, "load"))});
  }
  out += steps.text() + "\n";
  for (const auto& f : r.at("flows")) out += count(f, "stay") + " flows stay on " + word(f, "pool") + "\n";
  const auto& c = r.at("capacity");
  out += word(r, "to") + " has " + count(c, "backends_to") + " backends of weight " + count(c, "weight_to") + ", " +
         word(r, "from") + " " + count(c, "backends_from") + " of weight " + count(c, "weight_from") + "; " +
         one_decimal(real(c, "flows_per_backend_now")) + " flows a backend now, " +
         one_decimal(real(c, "flows_per_backend_then")) + " then\n";
  const auto& table = r.at("table");
  out += "the flow table has room for " + count(table, "free") + " more of " + count(table, "capacity") + " flows\n";
  const uint64_t deadline = number(r, "drain_deadline_s");
  out += word(r, "from") + " drains " +
         (deadline == 0 ? "without a deadline"
                        : "for at most " + duration(deadline) + ", then flows left are: " + word(r, "at_deadline")) +
         "\n";
  for (const auto& b : r.at("not_ready")) out += printable("not ready: " + b.get<std::string>()) + "\n";
  for (const auto& h : r.at("hooks")) out += printable("hook: " + h.get<std::string>()) + "\n";
  for (const auto& risk : r.at("risks"))
    out += printable(std::string(risk.at("forced").get<bool>() ? "forced " : "REFUSED ") + word(risk, "name") + ": " +
                     word(risk, "detail")) +
           "\n";
  return out + (r.at("would_start").get<bool>() ? "it would start\n" : "it would NOT start\n");
}

std::string render_drain(const Json& r) {
  std::string out =
      printable(word(r, "service")) + ": " + count(r, "flows") + " flows are left on " + word(r, "pool") + pinned_of(r);
  if (number(r, "flows") == 0) return out + "\n";
  const auto& eta = r.at("eta_s");
  out += eta.is_null() ? ", when they will have ended cannot be told" : ", empty in " + duration(eta.get<uint64_t>());
  out += "\n\n";
  Table idle({"IDLE FOR", ">FLOWS"});
  for (const auto& bucket : r.at("idle")) {
    const auto& edge = bucket.at("up_to_s");
    idle.row({edge.is_null() ? "longer" : "up to " + duration(edge.get<uint64_t>()), count(bucket, "flows")});
  }
  out += idle.text() + "longest idle " + duration(number(r, "longest_idle_s")) + "\n\n";
  Table age({">CHANGES OUTLIVED", ">FLOWS"});
  const auto& ages = r.at("by_age");
  for (size_t i = 0; i < ages.size(); i++)
    if (ages[i].get<uint64_t>() > 0)
      age.row({std::to_string(i) + (i + 1 == ages.size() ? " or more" : ""), grouped(ages[i].get<uint64_t>())});
  return out + age.text();
}

std::string render_preview(const Json& r) {
  const auto& clients = r.at("clients");
  return printable(word(r, "service") + ": " +
                   (clients.empty()
                        ? std::string("no client reaches ") + word(r, "pool") + " before the switch"
                        : joined(clients) + (clients.size() == 1 ? " reaches " : " reach ") + word(r, "pool")) +
                   (r.at("changed_live").get<bool>() ? " (changed live, until the next reload)" : "")) +
         "\n";
}

std::string render_audit_verdict(const Json& r) {
  std::string out = printable(word(r, "path")) + ": " + count(r, "lines") + " lines, head " + word(r, "head") + "\n";
  if (word(r, "first_names") != std::string(40, '0'))
    out += "the first line goes on with the chain of a file whose head is " + word(r, "first_names") + "\n";
  for (const auto& f : r.at("findings"))
    out += printable("BROKEN: line " + count(f, "line") + " " + word(f, "what")) + "\n";
  return out + (r.at("ok").get<bool>() ? "the chain is whole\n" : "the chain is BROKEN\n");
}

}  // namespace teal::ctl
