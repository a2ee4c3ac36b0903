// SPDX-License-Identifier: Apache-2.0
// The only file of tealctl that includes Beast.
#include "client.h"

#include <sys/un.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/version.hpp>
#include <cctype>
#include <chrono>

namespace teal::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::local::stream_protocol;
using Error = boost::system::error_code;

}  // namespace

Answer Client::request(std::string_view method, const std::string& target, const std::string& body) const {
  const auto fail = [this](const Error& error) {
    if (error == beast::error::timeout)
      throw Unreachable("teald did not answer on " + socket_ + " within " + std::to_string(timeout_s_) + " s");
    throw Unreachable("cannot reach teald on " + socket_ + ": " + error.message());
  };
  asio::io_context context(1);
  beast::basic_stream<Protocol> stream(context);
  Error error;
  sockaddr_un longest{};
  if (socket_.size() >= sizeof longest.sun_path) fail(asio::error::name_too_long);
  stream.socket().connect(Protocol::endpoint(socket_), error);
  if (error) fail(error);

  http::request<http::string_body> request;
  request.method_string(beast::string_view(method.data(), method.size()));
  request.target(target);
  request.set(http::field::host, "teald");
  request.set(http::field::user_agent, "tealctl/" TEAL_VERSION);
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  request.keep_alive(false);

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> response;
  response.body_limit(boost::none);  // 100,000 flows are 20 MB
  stream.expires_after(std::chrono::seconds(timeout_s_));
  http::async_write(stream, request, [&](Error write_error, size_t) {
    // A refusal may come while the request is still being written: read it in any case.
    http::async_read(stream, buffer, response, [&, write_error](Error read_error, size_t) {
      error = read_error && write_error ? write_error : read_error;
    });
  });
  context.run();
  if (error) fail(error);
  return {static_cast<int>(response.get().result_int()), std::move(response.get().body()),
          response.get()["Teal-Audit"] == "failed"};
}

std::string percent_encode(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x80 && std::isalnum(byte) != 0) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out;
}

}  // namespace teal::ctl
