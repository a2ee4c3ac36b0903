// SPDX-License-Identifier: Apache-2.0
// What concerns teald as a whole: its status and its audit log.
#include "render.h"
#include "text.h"

namespace teal::ctl {
namespace {

std::string word(const Json& object, const char* key) {
  return object.at(key).get<std::string>();
}
uint64_t number(const Json& object, const char* key) {
  return object.at(key).get<uint64_t>();
}

std::string table_line(const Json& table) {
  const uint64_t entries = number(table, "entries"), capacity = number(table, "capacity");
  const double share = capacity > 0 ? static_cast<double>(entries) / static_cast<double>(capacity) : 0;
  return grouped(entries) + " of " + grouped(capacity) + " flows (" + percent(share) + "), " +
         byte_size(number(table, "bytes")) + " of " + word(table, "memory") + " memory, " + word(table, "file");
}

// "4 -> 5", or what is known of it. An entry may be anything that somebody wrote into the file.
std::string generations(const Json& entry) {
  const auto text = [&](const char* key) {
    return entry.contains(key) && entry.at(key).is_number_unsigned() ? grouped(number(entry, key)) : std::string();
  };
  const std::string before = text("generation_before"), after = text("generation_after");
  return before == after ? before : before + " -> " + after;
}

std::string request_of(const Json& entry) {
  const auto& request = entry.at("request");
  std::string out = word(request, "method") + " " + word(request, "path");
  if (request.contains("body")) out += " " + request.at("body").dump(-1, ' ', false, Json::error_handler_t::replace);
  return out.size() > 120 ? out.substr(0, 117) + "..." : out;
}

}  // namespace

std::string render_status(const Json& s) {
  const auto& table = s.at("table");
  std::string out = "teald " + word(s, "version") + ", pid " + std::to_string(number(s, "pid")) + ", up " +
                    duration(number(s, "uptime_s")) + ", instance " + std::to_string(number(s, "instance")) + "\n" +
                    "configuration  " + word(s, "config_file") + "\n" + "flow table     " + table_line(table) + "\n" +
                    "last census    " + grouped(number(table, "census_age_ms")) + " ms ago, the sweep took " +
                    nanoseconds(number(table, "sweep_us") * 1000) + "\n" + "flows moved    " +
                    grouped(number(s, "flows_moved")) + "\n";
  Table ports({"PORT", "DEVICE", "DRIVER", "MAC", "LINK", ">QUEUES", ">RX PACKETS", ">TX PACKETS", ">RX MISSED"});
  for (const auto& p : s.at("ports"))
    ports.row({word(p, "name"), word(p, "device"), word(p, "driver"), word(p, "mac"),
               p.at("link_up").get<bool>() ? "up" : "down",
               std::to_string(number(p, "rx_queues")) + "/" + std::to_string(number(p, "tx_queues")),
               grouped(number(p, "rx_packets")), grouped(number(p, "tx_packets")), grouped(number(p, "rx_missed"))});
  Table workers({">WORKER", ">CPU", ">RX PACKETS", ">BUSY"});
  for (const auto& w : s.at("workers"))
    workers.row({std::to_string(number(w, "id")), std::to_string(number(w, "cpu")), grouped(number(w, "rx_packets")),
                 percent(static_cast<double>(number(w, "busy_ppm")) / 1e6)});
  return out + "\n" + ports.text() + "\n" + workers.text();
}

std::string render_audit(const Json& reply) {
  Table table({"TIME", "USER", ">PID", "REQUEST", "OUTCOME", ">GENERATION"});
  for (const auto& entry : reply.at("entries")) {
    try {
      const auto& outcome = entry.at("outcome");
      table.row({word(entry, "time"), word(entry.at("caller"), "user"),
                 std::to_string(number(entry.at("caller"), "pid")), request_of(entry),
                 std::to_string(number(outcome, "status")) + " " + word(outcome, "code"), generations(entry)});
    } catch (const Json::exception&) {
      table.row({"?", "?", "?", entry.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 120)});
    }
  }
  std::string out = table.text();
  for (const auto& broken : reply.at("breaks"))
    out += "WARNING: entry " + std::to_string(number(broken, "entry") + 1) + " of these " + word(broken, "what") + "\n";
  if (const auto failed = number(reply, "failed_writes"); failed > 0)
    out += "WARNING: " + grouped(failed) + " entries could not be written to " + word(reply, "path") +
           " since teald started\n";
  return out;
}

}  // namespace teal::ctl
