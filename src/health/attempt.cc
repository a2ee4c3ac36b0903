// SPDX-License-Identifier: Apache-2.0
#include "attempt.h"

#include <algorithm>

namespace teal::health {
namespace {

AttemptResult judge(const HttpReply& reply, const std::vector<uint16_t>& expected) {
  AttemptResult out{false, !reply.local, reply.error, reply.duration};
  if (!reply.error.empty()) return out;
  out.success = std::ranges::any_of(expected, [&](int s) { return s == reply.status; });
  out.text = "status " + std::to_string(reply.status);
  if (out.success) return out;
  const char* before = ", expected ";
  for (const uint16_t s : expected) {
    out.text += before + std::to_string(s);
    before = " or ";
  }
  return out;
}

}  // namespace

model::Endpoint checked_endpoint(const model::Endpoint& backend, const model::HealthConfig& config) {
  return {backend.address, config.port != 0 ? config.port : backend.port};
}

std::shared_ptr<HttpCall> attempt(HttpClient& client, const model::Endpoint& backend, const model::HealthConfig& config,
                                  std::function<void(const AttemptResult&)> done) {
  const model::Endpoint to = checked_endpoint(backend, config);
  const std::chrono::milliseconds timeout(config.timeout_ms);
  if (config.check == model::CheckKind::tcp)
    return client.connect(to, timeout, [done = std::move(done)](const HttpReply& reply) {
      done({reply.error.empty(), !reply.local, reply.error.empty() ? "connected" : reply.error, reply.duration});
    });
  HttpRequest request;
  request.url = {config.check == model::CheckKind::https, to.address.str(), to.port, config.path};
  request.connect_to = to;
  request.host = config.host;
  // The Host header may name a port; a certificate does not.
  if (const UrlResult host = parse_url("https://" + config.host); host.url) request.server_name = host.url->host;
  request.user_agent = "teald-health-check";
  request.timeout = timeout;
  request.verify_certificate = config.verify_certificate;
  return client.send(std::move(request), [done = std::move(done), expected = config.expect_status](
                                             const HttpReply& reply) { done(judge(reply, expected)); });
}

}  // namespace teal::health
