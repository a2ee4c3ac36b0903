// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <charconv>
#include <cstdio>

namespace teal::ctl {
namespace {

using Given = po::variables_map;

std::string text(const Given& given, const char* name) {
  return given.count(name) > 0 ? given[name].as<std::string>() : std::string();
}

void no_options(po::options_description_easy_init) {}

std::string service_path(const Given& given, const char* name, const std::string& rest) {
  return "/v1/services/" + percent_encode(text(given, name)) + rest;
}

Exit run_status(const Session& session, const Given&) {
  return show(session, session.client.request("GET", "/v1/status"), render_status);
}

Exit run_services(const Session& session, const Given& given) {
  if (given.count("NAME") == 0) return show(session, session.client.request("GET", "/v1/services"), render_services);
  return show(session, session.client.request("GET", service_path(given, "NAME", "")), render_service);
}

void cutover_options(po::options_description_easy_init add) {
  add("to", po::value<std::string>()->value_name("POOL")->default_value("green"), "pool for new flows: green or blue");
  add("expect-generation", po::value<std::string>()->value_name("N"), "refuse (exit 4) unless the generation is N now");
  add("force", "although flows could be hurt or no backend is ready");
}

Json switch_body(const Given& given) {
  Json body = Json::object();
  if (given.count("expect-generation") > 0)
    body["expect_generation"] = whole_number(given, "expect-generation", 0, UINT64_MAX);
  if (given.count("force") > 0) body["force"] = true;
  return body;
}

Exit run_cutover(const Session& session, const Given& given) {
  Json body = switch_body(given);
  body["to"] = text(given, "to");
  return show(session, session.client.request("POST", service_path(given, "NAME", "/cutover"), body.dump()),
              render_switch);
}

void rollback_options(po::options_description_easy_init add) {
  add("flows", po::value<std::string>()->value_name("WHAT"),
      "what becomes of flows on the pool that is left: keep (default) or reset");
  add("expect-generation", po::value<std::string>()->value_name("N"), "refuse (exit 4) unless the generation is N now");
  add("force", "although flows could be hurt or no backend is ready");
}

Exit run_rollback(const Session& session, const Given& given) {
  Json body = switch_body(given);
  if (given.count("flows") > 0) body["flows"] = text(given, "flows");
  return show(session, session.client.request("POST", service_path(given, "NAME", "/rollback"), body.dump()),
              render_switch);
}

void backend_options(po::options_description_easy_init add) {
  add("weight", po::value<std::string>()->value_name("N"), "share of its pool's new flows, 0 to 65535");
  add("state", po::value<std::string>()->value_name("STATE"), "ready, drain (no new flows) or down");
}

Exit run_backend(const Session& session, const Given& given) {
  Json body = Json::object();
  if (given.count("weight") > 0) body["weight"] = whole_number(given, "weight", 0, 65535);
  if (given.count("state") > 0) body["state"] = text(given, "state");
  if (body.empty()) throw UsageError("found neither --weight nor --state, expected at least one of them");
  const auto target = service_path(given, "SERVICE", "/backends/" + percent_encode(text(given, "ID")));
  return show(session, session.client.request("PATCH", target, body.dump()), render_backend);
}

void flows_options(po::options_description_easy_init add) {
  add("service", po::value<std::string>()->value_name("NAME"), "only flows of this service");
  add("pool", po::value<std::string>()->value_name("POOL"), "only flows on this pool: blue or green");
  add("backend", po::value<std::string>()->value_name("ID"), "only flows on this backend");
  add("state", po::value<std::string>()->value_name("STATE"), "only flows in this state, such as established");
  add("limit", po::value<std::string>()->value_name("N"), "at most so many, 1 to 100000 (default 100)");
}

Exit run_flows(const Session& session, const Given& given) {
  std::string target = "/v1/flows";
  char mark = '?';
  if (given.count("limit") > 0) whole_number(given, "limit", 1, 100000);
  for (const char* name : {"service", "pool", "backend", "state", "limit"}) {
    if (given.count(name) == 0) continue;
    target += mark + std::string(name) + "=" + percent_encode(text(given, name));
    mark = '&';
  }
  return show(session, session.client.request("GET", target), render_flows);
}

Exit run_which(const Session& session, const Given& given) {
  const std::string target = "/v1/which?service=" + percent_encode(text(given, "SERVICE")) +
                             "&client=" + percent_encode(text(given, "CLIENT:PORT"));
  return show(session, session.client.request("GET", target), render_which);
}

void counters_options(po::options_description_easy_init add) {
  add("all", "also those that are 0");
}

Exit run_counters(const Session& session, const Given& given) {
  const auto some = [](const Json& reply) { return render_counters(reply, false); };
  const auto all = [](const Json& reply) { return render_counters(reply, true); };
  return show(session, session.client.request("GET", "/v1/counters"), given.count("all") > 0 ? +all : +some);
}

void audit_options(po::options_description_easy_init add) {
  add("verify", "check the chain of the whole log (exit 1: it is broken)");
  add("limit", po::value<std::string>()->value_name("N")->default_value("20"), "the newest so many, 1 to 10000");
}

Exit run_audit(const Session& session, const Given& given) {
  if (given.count("verify") > 0) {
    const Answer answer = session.client.request("GET", "/v1/audit/verify");
    const Exit exit = show(session, answer, render_audit_verdict);
    return exit == done && !Json::parse(answer.body).at("ok").get<bool>() ? refused : exit;
  }
  const auto limit = std::to_string(whole_number(given, "limit", 1, 10000));
  return show(session, session.client.request("GET", "/v1/audit?limit=" + limit), render_audit);
}

Exit run_reload(const Session& session, const Given&) {
  return show(session, session.client.request("POST", "/v1/reload"), render_reload);
}

void top_options(po::options_description_easy_init add) {
  add("interval", po::value<std::string>()->value_name("S")->default_value("1"), "seconds between pictures, 1 to 3600");
  add("count", po::value<std::string>()->value_name("N"), "end after so many pictures");
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"status", "teald, its flow table, ports and workers", {}, no_options, run_status},
      {"services", "all services, or one with its backends", {{"NAME", false}}, no_options, run_services},
      {"cutover", "move a service's new flows to the other pool", {{"NAME", true}}, cutover_options, run_cutover},
      {"rollback", "take the last cutover back", {{"NAME", true}}, rollback_options, run_rollback},
      {"rollout",
       "start, pause, resume, promote, abort a rollout, or its status",
       {{"ACTION", true}, {"NAME", false}},
       rollout_options,
       run_rollout},
      {"drain", "flows left on the pool that was left", {{"SERVICE", true}}, drain_options, run_drain},
      {"preview", "clients that reach the standby pool", {{"SERVICE", true}}, preview_options, run_preview},
      {"backend",
       "change a backend's weight or state",
       {{"SERVICE", true}, {"ID", true}},
       backend_options,
       run_backend},
      {"flows", "live flows", {}, flows_options, run_flows},
      {"which",
       "the backend of a client's flow, and why",
       {{"SERVICE", true}, {"CLIENT:PORT", true}},
       no_options,
       run_which},
      {"counters", "drops by reason, and other events", {}, counters_options, run_counters},
      {"audit", "who changed what, and when", {}, audit_options, run_audit},
      {"reload", "read the configuration again", {}, no_options, run_reload},
      {"top", "services, flows and rates, drawn anew until q or Ctrl-C", {}, top_options, run_top},
  };
  return list;
}

Exit show(const Session& session, const Answer& answer, std::string (*render)(const Json&)) {
  const bool good = answer.status >= 200 && answer.status < 300;
  if (answer.audit_failed) fprintf(stderr, "tealctl: warning: teald could not write this call to its audit log\n");
  try {
    const Json reply = Json::parse(answer.body);
    const std::string text = good ? render(reply) : render_problem(reply);
    if (session.json) {
      fputs(answer.body.c_str(), stdout);
    } else if (good) {
      fputs(text.c_str(), stdout);
    } else {
      fprintf(stderr, "tealctl: %s", text.c_str());
    }
    if (good) return done;
    if (reply.at("code") == "generation_moved") return moved_on;
    return answer.status == 400 ? usage : refused;
  } catch (const Json::exception&) {
    throw Unreachable("found a reply (HTTP " + std::to_string(answer.status) +
                      ") that is not teald's, expected one that docs/openapi.yaml describes");
  }
}

uint64_t whole_number(const Given& given, const char* option, uint64_t min, uint64_t max) {
  const std::string value = text(given, option);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number < min || number > max)
    throw UsageError("option --" + std::string(option) + ": found \"" + value + "\", expected a whole number from " +
                     std::to_string(min) + " to " + std::to_string(max));
  return number;
}

}  // namespace teal::ctl
