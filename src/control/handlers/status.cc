// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply get_status(Context& context, Call& call) {
  const Query query(call.query, {});
  return json_reply(to_json(context.operations.status()));
}

}  // namespace teal::control
