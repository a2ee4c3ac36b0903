// SPDX-License-Identifier: Apache-2.0
// A control server on a thread and a socket of its own, and a plain client that sees each byte.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "control/server.h"
#include "fake_operations.h"
#include "fake_releases.h"
#include "json.h"

namespace teal::control {

struct HttpReply {
  int status = 0;
  std::string head, body;
  [[nodiscard]] Json json() const { return Json::parse(body, nullptr, false); }
  // By its name in lower case; empty when it is not there.
  [[nodiscard]] std::string header(const std::string& name) const {
    std::string lower = head;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto at = lower.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const auto from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
};

// One connection. Reads give up after 5 s.
class RawClient {
 public:
  explicit RawClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(fd_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  // False when the other end did not take all of it.
  bool write(const std::string& text) {
    for (size_t done = 0; done < text.size();) {
      const ssize_t n = send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (n <= 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  }

  // True when the other end has closed within that time, with nothing left to read.
  bool closed_within(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < until)
      if (!more(std::chrono::milliseconds(20)) && ended_) return buffer_.empty();
    return false;
  }

  // status 0 when the connection ended first.
  HttpReply read(bool head_only = false) {
    HttpReply reply;
    size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!more(std::chrono::seconds(5))) return reply;
    reply.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    reply.status = std::atoi(reply.head.c_str() + reply.head.find(' '));
    const size_t length = head_only ? 0 : std::strtoul(reply.header("content-length").c_str(), nullptr, 10);
    while (buffer_.size() < length)
      if (!more(std::chrono::seconds(5))) return {};
    reply.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return reply;
  }

  // What comes up to and with `mark`; empty when the connection ends or 5 s pass before.
  std::string read_until(const std::string& mark) {
    size_t end = 0;
    while ((end = buffer_.find(mark)) == std::string::npos)
      if (!more(std::chrono::seconds(5))) return {};
    std::string part = buffer_.substr(0, end + mark.size());
    buffer_.erase(0, end + mark.size());
    return part;
  }

 private:
  bool more(std::chrono::milliseconds time) {
    pollfd wait{fd_, POLLIN, 0};
    if (ended_ || poll(&wait, 1, static_cast<int>(time.count())) <= 0) return false;
    char bytes[65536];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }

  int fd_;
  bool connected_ = false, ended_ = false;
  std::string buffer_;
};

inline std::string http_request(const std::string& method, const std::string& target, const std::string& body = "",
                                const std::string& headers = "") {
  return method + " " + target + " HTTP/1.1\r\nHost: teal\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    char name[] = "/tmp/teal-control-XXXXXX";
    directory = mkdtemp(name);
    config.socket = directory + "/teald.sock";
    use_audit(directory + "/audit.jsonl");
  }
  ~ServerTest() override {
    halt();
    std::filesystem::remove_all(directory);
  }

  void use_audit(const std::string& path) {
    halt();
    audit = std::make_unique<telemetry::Audit>(path);
    run();
  }

  // Starts the server, on a thread that is not the test's.
  void run() {
    context.restart();
    server = std::make_unique<Server>(context, config, Server::Services{operations, releases, events, *audit}, limits);
    server->start();
    work = std::make_unique<Work>(context.get_executor());
    thread = std::thread([this] { context.run(); });
  }

  void halt() {
    if (!thread.joinable()) return;
    std::promise<void> stopped;
    boost::asio::post(context, [&] {
      server->stop();
      stopped.set_value();
    });
    stopped.get_future().wait();
    work.reset();
    thread.join();
    server.reset();
  }

  HttpReply send(const std::string& method, const std::string& target, const std::string& body = "") {
    RawClient client(config.socket);
    client.write(http_request(method, target, body));
    return client.read(method == "HEAD");
  }
  HttpReply get(const std::string& target) { return send("GET", target); }

  template <class Edit>
  void rewrite_audit(Edit edit) {
    std::ifstream in(audit->path());
    std::string text{std::istreambuf_iterator<char>(in), {}};
    edit(text);
    std::ofstream(audit->path()) << text;
  }

  using Work = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;
  std::string directory;
  model::ControlConfig config;
  ServerLimits limits;
  FakeOperations operations;
  FakeReleases releases;
  Events events{1000, 1};
  boost::asio::io_context context{1};
  std::unique_ptr<telemetry::Audit> audit;
  std::unique_ptr<Server> server;
  std::unique_ptr<Work> work;
  std::thread thread;
};

}  // namespace teal::control
