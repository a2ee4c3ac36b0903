// SPDX-License-Identifier: Apache-2.0
#include "health/http_client.h"

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <limits>
#include <utility>

namespace teal::health {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using Error = boost::system::error_code;
using Clock = std::chrono::steady_clock;

// A deadline that is noticed this much too late: the control thread was away, and answers may lie unread.
constexpr auto late = std::chrono::milliseconds(100);
constexpr uint32_t header_limit = 16 * 1024;

// Certificates are read at most once a client, when one is first verified (some ms).
struct Contexts {
  ssl::context plain{ssl::context::tls_client};
  std::unique_ptr<ssl::context> verifying;

  ssl::context& get(bool verify) {
    if (!verify) return plain;
    if (!verifying) {
      verifying = std::make_unique<ssl::context>(ssl::context::tls_client);
      verifying->set_default_verify_paths();
      verifying->set_verify_mode(ssl::verify_peer);
    }
    return *verifying;
  }
};

bool is_local(const Error& e) {
  using boost::system::errc::make_error_condition;
  namespace errc = boost::system::errc;
  return e == make_error_condition(errc::too_many_files_open) ||
         e == make_error_condition(errc::too_many_files_open_in_system) ||
         e == make_error_condition(errc::no_buffer_space) || e == make_error_condition(errc::not_enough_memory) ||
         e == make_error_condition(errc::address_not_available);
}

std::string milliseconds(std::chrono::milliseconds d) {
  return std::to_string(d.count()) + " ms";
}

asio::ip::address to_asio(const model::Address& a) {
  if (a.family == 4) {
    asio::ip::address_v4::bytes_type b;
    std::copy_n(a.bytes.begin(), b.size(), b.begin());
    return asio::ip::address_v4(b);
  }
  asio::ip::address_v6::bytes_type b;
  std::copy_n(a.bytes.begin(), b.size(), b.begin());
  return asio::ip::address_v6(b);
}

// One request. Every asynchronous step holds it; finish() ends it whatever is still under way.
class Call : public HttpCall, public std::enable_shared_from_this<Call> {
 public:
  Call(asio::io_context& io, std::shared_ptr<Contexts> contexts, HttpRequest request, HttpCallback done)
      : io_(io),
        contexts_(std::move(contexts)),
        request_(std::move(request)),
        done_(std::move(done)),
        timer_(io),
        resolver_(io),
        socket_(io) {}

  void start() {
    set_deadline();
    // Not from within send(): the caller does not have the handle yet.
    asio::post(io_, [self = shared_from_this()] {
      if (self->over_) return;
      if (!self->printable()) return self->finish("a blank or control byte in the request's target, host or method");
      if (self->request_.connect_to) return self->connect(*self->request_.connect_to);
      if (const auto address = model::Address::parse(self->request_.url.host))
        return self->connect({*address, self->request_.url.port});
      self->resolve();
    });
  }

  void start_connect_only() {
    connect_only_ = true;
    start();
  }

  void start_refusal(std::string error) {
    set_deadline();
    asio::post(io_, [self = shared_from_this(), error = std::move(error)] { self->finish(error); });
  }

  void cancel() override {
    done_ = nullptr;
    finish("");
  }

 private:
  void set_deadline() {
    begun_ = Clock::now();
    timer_.expires_at(begun_ + request_.timeout);
    timer_.async_wait([self = shared_from_this()](const Error& e) {
      if (!e) self->timed_out();
    });
  }

  void timed_out() {
    const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - timer_.expiry());
    reply_.local = lag > late;
    std::string text = "timed out after " + milliseconds(request_.timeout) + " while " + phase_;
    if (reply_.local) text += ", but this host was busy for " + milliseconds(lag) + " meanwhile";
    finish(text);
  }

  // What would end a line of the request early, or its first line's words.
  [[nodiscard]] bool printable() const {
    for (const std::string* s : {&request_.url.target, &request_.host, &request_.method, &request_.user_agent})
      if (std::ranges::any_of(*s, [](unsigned char c) { return c <= ' ' || c == 0x7f; })) return false;
    return true;
  }

  void resolve() {
    phase_ = "resolving " + request_.url.host;
    resolver_.async_resolve(request_.url.host, std::to_string(request_.url.port),
                            [self = shared_from_this()](const Error& e, const tcp::resolver::results_type& found) {
                              if (self->over_) return;
                              if (e) return self->fail(e);
                              self->phase_ = "connecting";
                              asio::async_connect(self->socket_, found,
                                                  [self](const Error& e, const tcp::endpoint&) { self->connected(e); });
                            });
  }

  void connect(const model::Endpoint& to) {
    phase_ = "connecting";
    socket_.async_connect({to_asio(to.address), to.port},
                          [self = shared_from_this()](const Error& e) { self->connected(e); });
  }

  void connected(const Error& e) {
    if (over_) return;
    if (e) return fail(e);
    if (connect_only_) return finish("");
    Error ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    if (request_.url.tls)
      secure();
    else
      write(socket_);
  }

  void secure() {
    phase_ = "in the TLS handshake";
    try {
      tls_.emplace(socket_, contexts_->get(request_.verify_certificate));
    } catch (const boost::system::system_error& e) {
      reply_.local = true;
      return finish(std::string("cannot verify certificates: ") + e.what());
    }
    const std::string& name = request_.server_name.empty() ? request_.url.host : request_.server_name;
    SSL* const handle = tls_->native_handle();
    const bool address = model::Address::parse(name).has_value();
    // SNI is for names only (RFC 6066, 3).
    if (!address) SSL_set_tlsext_host_name(handle, name.c_str());
    if (request_.verify_certificate) {
      if (address)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(handle), name.c_str());
      else
        SSL_set1_host(handle, name.c_str());
    }
    tls_->async_handshake(ssl::stream_base::client, [self = shared_from_this()](const Error& e) {
      if (self->over_) return;
      if (!e) return self->write(*self->tls_);
      const long verdict = SSL_get_verify_result(self->tls_->native_handle());
      if (self->request_.verify_certificate && verdict != X509_V_OK)
        return self->finish(std::string("certificate refused: ") + X509_verify_cert_error_string(verdict));
      self->fail(e);
    });
  }

  template <class Stream>
  void write(Stream& stream) {
    phase_ = "sending the request";
    message_.version(11);
    message_.method_string(request_.method);
    message_.target(request_.url.target);
    message_.set(http::field::host, request_.host.empty() ? request_.url.authority() : request_.host);
    message_.set(http::field::user_agent, request_.user_agent);
    message_.set(http::field::accept, "*/*");
    message_.set(http::field::connection, "close");
    if (!request_.content_type.empty()) message_.set(http::field::content_type, request_.content_type);
    message_.body() = std::move(request_.body);
    if (!message_.body().empty() || request_.method == "POST") message_.prepare_payload();
    http::async_write(stream, message_, [self = shared_from_this(), &stream](const Error& e, size_t) {
      if (self->over_) return;
      // A server may answer and close before it has read all: what it said is worth more than the broken pipe.
      if (e && e != asio::error::broken_pipe && e != asio::error::connection_reset) return self->fail(e);
      self->phase_ = "waiting for the answer";
      self->read_header(stream);
    });
  }

  template <class Stream>
  void read_header(Stream& stream) {
    parser_.emplace();
    parser_->header_limit(header_limit);
    // keep_body bounds what is read. (Boost 1.74 takes boost::none for a limit below everything.)
    parser_->body_limit(std::numeric_limits<uint64_t>::max());
    http::async_read_header(stream, buffer_, *parser_, [self = shared_from_this(), &stream](const Error& e, size_t) {
      if (self->over_) return;
      if (e) return self->fail(e);
      const auto status = static_cast<int>(self->parser_->get().result_int());
      if (status < 200) return self->read_header(stream);  // 1xx: the answer is still to come (RFC 9110, 15.2)
      self->reply_.status = status;
      self->phase_ = "reading the answer's body";
      self->read_body(stream);
    });
  }

  template <class Stream>
  void read_body(Stream& stream) {
    if (parser_->is_done()) return finish("");
    if (reply_.body.size() >= request_.keep_body) {
      reply_.truncated = true;
      return finish("");
    }
    auto& body = parser_->get().body();
    body.data = chunk_.data();
    body.size = std::min(chunk_.size(), request_.keep_body - reply_.body.size());
    const size_t room = body.size;
    http::async_read_some(stream, buffer_, *parser_,
                          [self = shared_from_this(), &stream, room](const Error& e, size_t) {
                            if (self->over_) return;
                            self->reply_.body.append(self->chunk_.data(), room - self->parser_->get().body().size);
                            if (e == ssl::error::stream_truncated && self->parser_->need_eof()) return self->finish("");
                            if (e && e != http::error::need_buffer) return self->fail(e);
                            self->read_body(stream);
                          });
  }

  void fail(const Error& e) {
    reply_.local = is_local(e);
    if (e == http::error::end_of_stream || e == asio::error::eof || e == ssl::error::stream_truncated)
      return finish("the peer closed the connection while " + phase_);
    finish(e.message() + " while " + phase_);
  }

  void finish(std::string error) {
    if (over_) return;
    over_ = true;
    reply_.error = std::move(error);
    reply_.duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun_);
    timer_.cancel();
    resolver_.cancel();
    Error ignored;
    socket_.close(ignored);
    if (!done_) return;
    const HttpCallback done = std::exchange(done_, nullptr);
    done(reply_);
  }

  asio::io_context& io_;
  std::shared_ptr<Contexts> contexts_;
  HttpRequest request_;
  bool connect_only_ = false, over_ = false;
  HttpCallback done_;
  asio::steady_timer timer_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  std::optional<ssl::stream<tcp::socket&>> tls_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> message_;
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::array<char, 8192> chunk_;
  HttpReply reply_;
  Clock::time_point begun_;
  std::string phase_ = "starting";
};

}  // namespace

struct HttpClient::Impl {
  asio::io_context& io;
  std::shared_ptr<Contexts> contexts = std::make_shared<Contexts>();
};

HttpClient::HttpClient(asio::io_context& io) : impl_(new Impl{io}) {}
HttpClient::~HttpClient() = default;

std::shared_ptr<HttpCall> HttpClient::send(HttpRequest request, HttpCallback done) {
  auto call = std::make_shared<Call>(impl_->io, impl_->contexts, std::move(request), std::move(done));
  call->start();
  return call;
}

std::shared_ptr<HttpCall> HttpClient::connect(const model::Endpoint& to, std::chrono::milliseconds timeout,
                                              HttpCallback done) {
  HttpRequest request;
  request.connect_to = to;
  request.timeout = timeout;
  auto call = std::make_shared<Call>(impl_->io, impl_->contexts, std::move(request), std::move(done));
  call->start_connect_only();
  return call;
}

std::shared_ptr<HttpCall> HttpClient::refuse(std::string error, HttpCallback done) {
  auto call = std::make_shared<Call>(impl_->io, impl_->contexts, HttpRequest{}, std::move(done));
  call->start_refusal(std::move(error));
  return call;
}

}  // namespace teal::health
