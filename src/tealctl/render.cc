// SPDX-License-Identifier: Apache-2.0
#include "render.h"

#include "text.h"

namespace teal::ctl {
namespace {

std::string word(const Json& object, const char* key) {
  return object.at(key).get<std::string>();
}
std::string count(const Json& object, const char* key) {
  return grouped(object.at(key).get<uint64_t>());
}
uint64_t number(const Json& object, const char* key) {
  return object.at(key).get<uint64_t>();
}

std::string joined(const Json& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : ", ") + w.get<std::string>();
  return out;
}

std::string address_of(const Json& service) {
  const std::string vip = word(service, "vip"), port = std::to_string(number(service, "port"));
  return vip.find(':') == std::string::npos ? vip + ":" + port : "[" + vip + "]:" + port;
}

std::string flows_of(const Json& service, const char* pool) {
  const auto& pools = service.at("pools");
  return pools.contains(pool) ? count(pools.at(pool), "flows") : "-";
}

std::string notes_of(const Json& service) {
  std::string out = service.at("draining").get<bool>() ? "draining" : "";
  if (service.at("settled").get<bool>()) out += out.empty() ? "settled" : ", settled";
  if (service.at("retired").get<bool>()) out += out.empty() ? "retired" : ", retired";
  if (number(service, "flows_moved") > 0)
    out += (out.empty() ? "" : ", ") + count(service, "flows_moved") + " flows MOVED";
  return out;
}

}  // namespace

std::string render_services(const Json& reply) {
  Table table({"SERVICE", "ADDRESS", "PROTOCOL", "FORWARD", "GROUP", "ACTIVE", ">GREEN", ">GENERATION", ">BLUE FLOWS",
               ">GREEN FLOWS", "NOTES"});
  for (const auto& s : reply.at("services"))
    table.row({word(s, "name"), address_of(s), word(s, "protocol"), word(s, "forward"), word(s, "group"),
               word(s, "active"), percent(s.at("green_share").get<double>()), count(s, "generation"),
               flows_of(s, "blue"), flows_of(s, "green"), notes_of(s)});
  return table.text();
}

std::string render_service(const Json& s) {
  const std::string notes = notes_of(s);
  std::string out = word(s, "name") + "  " + address_of(s) + " " + word(s, "protocol") + ", " + word(s, "forward") +
                    ", split by " + word(s, "split_by") + ", group " + word(s, "group") +
                    (notes.empty() ? "" : "  (" + notes + ")");
  out = printable(out) + "\nactive " + word(s, "active") + ", green takes " +
        percent(s.at("green_share").get<double>()) + " of new flows, generation " + count(s, "generation") + "\n" +
        "untracked " + count(s, "untracked") + ", recovered " + count(s, "recovered") + ", moved " +
        count(s, "flows_moved") + "\n";
  Table pools({"POOL", ">FLOWS", ">HALF-OPEN", ">ENTERED", ">PINNED"});
  Table backends({"POOL", "BACKEND", "ADDRESS", ">WEIGHT", "STATE", "NEXT HOP", ">FLOWS", ">PACKETS", ">BYTES"});
  for (const auto& [name, pool] : s.at("pools").items()) {
    pools.row({name, count(pool, "flows"), count(pool, "half_open"), count(pool, "new_flows"), count(pool, "pinned")});
    for (const auto& b : pool.at("backends"))
      backends.row({name, word(b, "id"), word(b, "address"), count(b, "weight"), word(b, "state"), word(b, "next_hop"),
                    count(b, "flows"), count(b, "packets"), count(b, "bytes")});
  }
  return out + "\n" + pools.text() + "\n" + backends.text();
}

std::string render_switch(const Json& reply) {
  const std::string active = word(reply, "active");
  const std::string generation = " (generation " + count(reply, "generation");
  std::string out = joined(reply.at("services"));
  if (reply.at("changed").get<bool>()) {
    out += ": new flows go to " + active + " since " + word(reply, "adopted_at") + generation + ", adopted in " +
           nanoseconds(number(reply, "adoption_ns")) + ")\n" + count(reply, "flows_staying") + " flows stay on " +
           (active == "blue" ? "green" : "blue") + " until they end\n";
  } else {
    out += ": new flows went to " + active + " already" + generation + "); nothing changed\n";
  }
  if (number(reply, "flows_reset") > 0) out += count(reply, "flows_reset") + " flows are being reset\n";
  return out;
}

std::string render_backend(const Json& reply) {
  const auto& b = reply.at("backend");
  return printable(word(b, "id")) + ": weight " + count(b, "weight") + ", " + word(b, "state") + ", " +
         count(b, "flows") + " flows; " + percent(reply.at("slots_changed").get<double>()) +
         " of the pool's new flows now go elsewhere\n";
}

std::string render_flows(const Json& reply) {
  Table table({"SERVICE", "CLIENT", "POOL", "BACKEND", "STATE", ">IDLE S", ">GENERATION"});
  for (const auto& f : reply.at("flows"))
    table.row({word(f, "service"), word(f, "client"), word(f, "pool"), word(f, "backend"), word(f, "state"),
               count(f, "idle_s"), count(f, "generation")});
  std::string out = table.text();
  if (table.rows() == number(reply, "limit"))
    out += "(the first " + grouped(table.rows()) + "; --limit N shows more)\n";
  return out;
}

std::string render_which(const Json& reply) {
  Table table({"SERVICE", "CLIENT", "POOL", "BACKEND", "WHY", "STATE"});
  const auto or_dash = [&](const char* key) { return word(reply, key).empty() ? std::string("-") : word(reply, key); };
  table.row({word(reply, "service"), word(reply, "client"), or_dash("pool"), or_dash("backend"), word(reply, "why"),
             or_dash("state")});
  return table.text() + printable(word(reply, "detail")) + "\n";
}

std::string render_counters(const Json& reply, bool all) {
  Table table({"KIND", "COUNTER", ">COUNT"});
  size_t hidden = 0;
  const auto add = [&](const char* kind, const char* key) {
    for (const auto& [name, value] : reply.at(key).items()) {
      if (all || value.get<uint64_t>() > 0) {
        table.row({kind, name, grouped(value.get<uint64_t>())});
      } else {
        ++hidden;
      }
    }
  };
  add("drop", "drops");
  add("event", "events");
  return table.text() + (hidden > 0 ? "(" + grouped(hidden) + " more are 0; --all shows them)\n" : "");
}

std::string render_reload(const Json& reply) {
  if (!reply.at("changed").get<bool>()) return "nothing changed\n";
  std::string out;
  for (const auto& change : reply.at("changes")) out += printable(change.get<std::string>()) + "\n";
  return out;
}

std::string render_problem(const Json& problem) {
  std::string out = printable(word(problem, "title") + ": " + word(problem, "detail")) + "\n";
  if (problem.contains("errors"))
    for (const auto& error : problem.at("errors")) out += "  " + printable(error.get<std::string>()) + "\n";
  return out;
}

}  // namespace teal::ctl
