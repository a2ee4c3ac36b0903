// SPDX-License-Identifier: Apache-2.0
// Servers on loopback that behave as told, on the test's own io_context and thread.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/address.h"

namespace teal::health {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Runs `io` until `over`, or for `limit`; returns whether it is over.
inline bool run_until(asio::io_context& io, const std::function<bool()>& over,
                      milliseconds limit = milliseconds(10000)) {
  const auto end = Clock::now() + limit;
  while (!over() && Clock::now() < end) {
    io.restart();
    io.run_one_for(milliseconds(20));
  }
  return over();
}
inline void run_for(asio::io_context& io, milliseconds time) {
  run_until(
      io, [] { return false; }, time);
}

inline std::string answer(int status, const std::string& body, const std::string& fields = "") {
  return "HTTP/1.1 " + std::to_string(status) + " Some words\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

struct Behaviour {
  std::string reply =
      answer(200, "fine");  // bytes, once the request's header is complete; then the connection is closed
  milliseconds delay{0};    // before the reply
  bool silent = false;      // accepts, reads, never says a word
  bool hang_up = false;     // reads once and closes
  bool keep_open = false;   // does not close after the reply
};

class Server {
 public:
  explicit Server(asio::io_context& io, Behaviour b = {}, asio::ssl::context* tls = nullptr)
      : behaviour(std::move(b)), io_(io), tls_(tls), acceptor_(io, {asio::ip::address_v4::loopback(), 0}) {
    accept();
  }

  [[nodiscard]] uint16_t port() const { return acceptor_.local_endpoint().port(); }
  [[nodiscard]] model::Endpoint endpoint() const { return {*model::Address::parse("127.0.0.1"), port()}; }
  [[nodiscard]] std::string url(const std::string& target = "/") const {
    return std::string(tls_ != nullptr ? "https" : "http") + "://127.0.0.1:" + std::to_string(port()) + target;
  }

  Behaviour behaviour;  // of connections to come
  std::vector<std::string> requests;
  std::vector<std::string> server_names;  // TLS: SNI of each handshake
  std::vector<Clock::time_point> accepted;
  size_t most_open = 0;
  [[nodiscard]] size_t open() const { return *open_; }

 private:
  struct Connection {
    Server& server;
    tcp::socket socket;
    std::optional<asio::ssl::stream<tcp::socket&>> tls;
    asio::steady_timer timer;
    std::string in;
    std::array<char, 4096> chunk{};
    std::shared_ptr<size_t> open;  // a connection may end with the io_context, after its server
    Connection(Server& s, tcp::socket k) : server(s), socket(std::move(k)), timer(s.io_), open(s.open_) {
      server.most_open = std::max(server.most_open, ++*open);
    }
    ~Connection() { --*open; }
  };
  using Ptr = std::shared_ptr<Connection>;

  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& e, tcp::socket socket) {
      if (e) return;
      accepted.push_back(Clock::now());
      auto c = std::make_shared<Connection>(*this, std::move(socket));
      accept();
      if (tls_ == nullptr || behaviour.hang_up) return read(c, c->socket);
      c->tls.emplace(c->socket, *tls_);
      c->tls->async_handshake(asio::ssl::stream_base::server, [this, c](const boost::system::error_code& error) {
        const char* name = SSL_get_servername(c->tls->native_handle(), TLSEXT_NAMETYPE_host_name);
        server_names.emplace_back(name != nullptr ? name : "");
        if (!error) read(c, *c->tls);
      });
    });
  }

  template <class Stream>
  void read(const Ptr& c, Stream& stream) {
    stream.async_read_some(asio::buffer(c->chunk), [this, c, &stream](const boost::system::error_code& e, size_t n) {
      if (e || behaviour.hang_up) return;
      c->in.append(c->chunk.data(), n);
      const size_t header = c->in.find("\r\n\r\n");
      if (header == std::string::npos || behaviour.silent) return read(c, stream);
      const size_t length_at = c->in.find("Content-Length: ");
      const size_t length = length_at < header ? std::stoul(c->in.substr(length_at + 16)) : 0;
      if (c->in.size() < header + 4 + length) return read(c, stream);
      requests.push_back(c->in);
      c->timer.expires_after(behaviour.delay);
      c->timer.async_wait([this, c, &stream](const boost::system::error_code&) { write(c, stream); });
    });
  }

  template <class Stream>
  void write(const Ptr& c, Stream& stream) {
    auto bytes = std::make_shared<std::string>(behaviour.reply);
    asio::async_write(stream, asio::buffer(*bytes),
                      [this, c, bytes, &stream](const boost::system::error_code& e, size_t) {
                        if (!e && behaviour.keep_open) read(c, stream);
                      });
  }

  std::shared_ptr<size_t> open_ = std::make_shared<size_t>(0);
  asio::io_context& io_;
  asio::ssl::context* tls_;
  tcp::acceptor acceptor_;
};

// A port that refuses, and that nobody else gets meanwhile: bound, not listening.
class RefusingPort {
 public:
  explicit RefusingPort(asio::io_context& io) : socket_(io, tcp::v4()) {
    socket_.bind({asio::ip::address_v4::loopback(), 0});
  }
  [[nodiscard]] model::Endpoint endpoint() const {
    return {*model::Address::parse("127.0.0.1"), socket_.local_endpoint().port()};
  }

 private:
  tcp::socket socket_;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "teal-health-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace teal::health
