// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply get_drain(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(value_or_refuse(context.releases.drain(call.captures.at(0)))));
}

}  // namespace teal::control
