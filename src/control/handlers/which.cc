// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply get_which(Context& context, Call& call) {
  constexpr const char* expected = "ADDRESS:PORT (\"192.0.2.1:40000\" or \"[2001:db8::1]:40000\")";
  const Query query(call.query, {"service", "client"});
  const std::string service = query.required("service", "the name of a service");
  const std::string text = query.required("client", expected);
  const auto client = model::Endpoint::parse(text);
  if (!client)
    refuse(ProblemCode::wrong_parameter,
           "query parameter \"client\": found \"" + text.substr(0, 60) + "\", expected " + expected);
  return json_reply(to_json(value_or_refuse(context.operations.which(service, *client))));
}

}  // namespace teal::control
