// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply get_counters(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(context.operations.counters()));
}

}  // namespace teal::control
