// SPDX-License-Identifier: Apache-2.0
// One HTTP request to teald's control socket at a time.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace teal::ctl {

// Nobody answers, or what answers is not teald. Exit code 3.
struct Unreachable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Answer {
  int status = 0;  // HTTP
  std::string body;
  bool audit_failed = false;  // the call was carried out, or refused, but could not be written to the audit log
};

class Client {
 public:
  // `timeout_s`: how long a request waits for its reply.
  explicit Client(std::string socket, unsigned timeout_s = 60) : socket_(std::move(socket)), timeout_s_(timeout_s) {}

  // `target` is percent-encoded already; an empty body is not sent. Throws Unreachable.
  [[nodiscard]] Answer request(std::string_view method, const std::string& target, const std::string& body = "") const;

 private:
  std::string socket_;
  unsigned timeout_s_;
};

// Everything but RFC 3986's unreserved characters as %XX.
std::string percent_encode(std::string_view text);

}  // namespace teal::ctl
