// SPDX-License-Identifier: Apache-2.0
// One handler a route, one file a resource. Each reads its input, asks Operations, and shapes the answer.
#pragma once

#include "call.h"

namespace teal::control {

Reply get_status(Context& context, Call& call);     // status.cc
Reply list_services(Context& context, Call& call);  // services.cc
Reply get_service(Context& context, Call& call);
Reply post_cutover(Context& context, Call& call);  // switch.cc
Reply post_rollback(Context& context, Call& call);
Reply patch_backend(Context& context, Call& call);  // backends.cc
Reply list_flows(Context& context, Call& call);     // flows.cc
Reply get_which(Context& context, Call& call);      // which.cc
Reply get_counters(Context& context, Call& call);   // counters.cc
Reply get_audit(Context& context, Call& call);      // audit.cc
Reply post_reload(Context& context, Call& call);    // reload.cc
Reply get_metrics(Context& context, Call& call);    // metrics.cc

// The generation of a service's split now, for the audit line; nothing when there is no such service.
std::optional<uint64_t> generation_of(Context& context, const std::string& service);  // services.cc

}  // namespace teal::control
