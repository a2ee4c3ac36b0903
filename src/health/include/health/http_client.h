// SPDX-License-Identifier: Apache-2.0
// One HTTP/1.1 request over TCP or TLS, asynchronously and with one deadline for all of it. What checks, queries and
// webhooks share. Redirects are not followed, nothing is retried, no connection is kept.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model/address.h"

namespace teal::health {

// "http://HOST[:PORT][/PATH][?QUERY]" or https; HOST is a name, an IPv4 address or an IPv6 address in brackets.
struct Url {
  bool tls = false;
  std::string host;  // IPv6: without brackets
  uint16_t port = 0;
  std::string target = "/";  // path and query, as sent
  // Value of a Host header: brackets around IPv6, the port when it is not the scheme's own.
  [[nodiscard]] std::string authority() const;
};

struct UrlResult {
  std::optional<Url> url;
  std::string error;  // what was found and expected, when there is no URL
};
UrlResult parse_url(const std::string& text);

struct HttpRequest {
  Url url;
  std::optional<model::Endpoint> connect_to;  // instead of what url.host resolves to
  std::string host;                           // Host header; empty: url.authority()
  std::string server_name;                    // TLS: SNI, and whose certificate is expected; empty: url.host
  std::string method = "GET";
  std::string content_type;  // of the body
  std::string body;
  std::string user_agent = "teald";
  std::chrono::milliseconds timeout{1000};  // from the name's resolution to the answer's last byte
  size_t keep_body = 64 * 1024;             // bytes of the answer's body that are read at most
  bool verify_certificate = true;           // TLS: by the system's authorities (SSL_CERT_FILE, SSL_CERT_DIR) and name
};

struct HttpReply {
  int status = 0;  // 0: no answer, and `error` says why
  std::string body;
  bool truncated = false;  // the body goes on after keep_body bytes
  std::string error;       // also when the answer broke off in its body; then status is set
  // The error lies with this host (no descriptors, no ports, a control thread that was away): it says nothing of the
  // peer.
  bool local = false;
  std::chrono::microseconds duration{0};
};

using HttpCallback = std::function<void(const HttpReply&)>;

// A request on its way. cancel(): the socket is closed, the callback is not called (any more).
class HttpCall {
 public:
  virtual ~HttpCall() = default;
  virtual void cancel() = 0;
};

// For use by the io_context's one thread. Calls on their way keep what they need; the client may go before them.
// A name (not an address) is resolved by Asio's resolver thread: the deadline holds, but the end of the io_context
// waits for a resolution that is under way, up to the system's own limit.
class HttpClient {
 public:
  explicit HttpClient(boost::asio::io_context& io);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Calls `done` exactly once, never from within send() itself, unless the call is cancelled.
  std::shared_ptr<HttpCall> send(HttpRequest request, HttpCallback done);

  // As send(), for a TCP connection alone: status stays 0, no error means connected.
  std::shared_ptr<HttpCall> connect(const model::Endpoint& to, std::chrono::milliseconds timeout, HttpCallback done);

  // Calls `done` with this error, as send() would: for what is wrong before anything can be sent.
  std::shared_ptr<HttpCall> refuse(std::string error, HttpCallback done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace teal::health
