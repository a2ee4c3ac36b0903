// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "health/http_client.h"

namespace teal::health {
namespace {

UrlResult wrong(const std::string& text, const std::string& found) {
  return {std::nullopt,
          "found \"" + text.substr(0, 200) + "\" (" + found + "), expected http://HOST[:PORT][/PATH] or https://..."};
}

bool is_name(std::string_view host) {
  return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

}  // namespace

UrlResult parse_url(const std::string& text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.tls = true;
  } else {
    return wrong(text, "no such scheme");
  }
  // Everything goes into a request line: no blanks, control bytes or bytes that need an encoding (RFC 3986, 2).
  if (std::ranges::any_of(rest, [](unsigned char c) { return c <= ' ' || c >= 0x7f; }))
    return wrong(text, "a blank or a byte that has to be percent-encoded");
  const size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, end);
  std::string_view target = rest.substr(end);
  target = target.substr(0, target.find('#'));
  url.target = target.starts_with('/') ? std::string(target) : "/" + std::string(target);

  if (authority.find('@') != std::string_view::npos) return wrong(text, "a user name");
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return wrong(text, "no closing bracket");
    url.host = authority.substr(1, close - 1);
    const auto address = model::Address::parse(url.host);
    if (!address || address->family != 6) return wrong(text, "no IPv6 address in brackets");
    std::string_view after = authority.substr(close + 1);
    has_port = after.starts_with(':');
    if (!has_port && !after.empty()) return wrong(text, "more after the bracket");
    if (has_port) port = after.substr(1);
  } else {
    const size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    url.host = authority.substr(0, colon);
    if (has_port) port = authority.substr(colon + 1);
    if (!is_name(url.host)) return wrong(text, "no host name or address");
  }
  url.port = url.tls ? 443 : 80;
  if (has_port) {
    unsigned n = 0;
    const auto [p, error] = std::from_chars(port.data(), port.data() + port.size(), n);
    if (error != std::errc() || p != port.data() + port.size() || n == 0 || n > 65535)
      return wrong(text, "no port from 1 to 65,535");
    url.port = static_cast<uint16_t>(n);
  }
  return {url, ""};
}

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? name : name + ":" + std::to_string(port);
}

}  // namespace teal::health
