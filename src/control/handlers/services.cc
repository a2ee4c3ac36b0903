// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply list_services(Context& context, Call& call) {
  const Query query(call.query, {});
  Json services = Json::array();
  for (const auto& service : context.operations.services()) services.push_back(to_json(service));
  return json_reply({{"services", std::move(services)}});
}

Reply get_service(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(value_or_refuse(context.operations.service(call.captures.at(0)))));
}

}  // namespace teal::control
