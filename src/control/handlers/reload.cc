// SPDX-License-Identifier: Apache-2.0
#include "handlers/handlers.h"
#include "input.h"

namespace teal::control {

Reply post_reload(Context& context, Call& call) {
  const Query query(call.query, {});
  const Body body(call.body, {});
  return json_reply(to_json(value_or_refuse(context.operations.reload())));
}

}  // namespace teal::control
