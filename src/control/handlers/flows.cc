// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply list_flows(Context& context, Call& call) {
  const Query query(call.query, {"service", "pool", "backend", "state", "limit"});
  FlowQuery request;
  request.service = query.text("service");
  request.pool = query.word("pool", {"blue", "green"});
  request.backend = query.text("backend");
  request.state = query.text("state");
  request.limit = static_cast<uint32_t>(query.integer("limit", 100, 1, 100000));
  const auto found = value_or_refuse(context.operations.flows(request));
  Json flows = Json::array();
  for (const auto& flow : found) flows.push_back(to_json(flow));
  return json_reply({{"limit", request.limit}, {"flows", std::move(flows)}});
}

}  // namespace teal::control
