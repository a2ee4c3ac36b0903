// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply get_preview(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(value_or_refuse(context.releases.preview(call.captures.at(0)))));
}

Reply put_preview(Context& context, Call& call) {
  constexpr const char* expected = "prefixes (\"198.51.100.0/24\", \"2001:db8::/32\", an address alone)";
  const Query query(call.query, {});
  const Body body(call.body, {"clients"});
  const auto texts = body.texts("clients", {});
  if (!texts)
    refuse(ProblemCode::missing_key, std::string("key \"clients\": found nothing, expected an array of ") + expected);
  std::vector<model::Prefix> clients;
  for (const auto& text : *texts) {
    const auto prefix = model::Prefix::parse(text);
    if (!prefix)
      refuse(ProblemCode::wrong_value,
             "key \"clients\": found the string \"" + text.substr(0, 60) + "\" in it, expected " + expected);
    clients.push_back(*prefix);
  }
  const std::string& service = call.captures.at(0);
  note_before(context, call, service);
  const auto reply = value_or_refuse(context.releases.set_preview(service, clients));
  note_after(context, call, service);
  return json_reply(to_json(reply));
}

}  // namespace teal::control
