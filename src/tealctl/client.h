// SPDX-License-Identifier: Apache-2.0
// One HTTP request to teald's control socket at a time.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

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
  explicit Client(std::string socket) : socket_(std::move(socket)) {}

  // `target` is percent-encoded already; an empty body is not sent. Waits up to 60 s. Throws Unreachable.
  [[nodiscard]] Answer request(std::string_view method, const std::string& target, const std::string& body = "") const;

 private:
  std::string socket_;
};

// Everything but RFC 3986's unreserved characters as %XX.
std::string percent_encode(std::string_view text);

}  // namespace teal::ctl
