// SPDX-License-Identifier: Apache-2.0
// The structs of control/operations.h and control/releases.h as JSON. Keys are the members' names; docs/openapi.yaml
// describes each.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "control/operations.h"
#include "control/releases.h"

namespace teal::control {

using Json = nlohmann::ordered_json;  // keys in the order in which people want to read them

Json to_json(const Problem& value);  // RFC 9457: type, title, status, detail, code, errors
Json to_json(const BackendStatus& value);
Json to_json(const ServiceStatus& value);
Json to_json(const Status& value);
Json to_json(const CounterStatus& value);
Json to_json(const SwitchReply& value);
Json to_json(const BackendReply& value);
Json to_json(const ReloadReply& value);
Json to_json(const FlowStatus& value);
Json to_json(const WhichReply& value);
Json to_json(const PoolSignalsStatus& value);
Json to_json(const RolloutStatus& value);
Json to_json(const Rehearsal& value);
Json to_json(const PreviewStatus& value);
Json to_json(const DrainReport& value);

// One line, with a newline at its end. Bytes that are no UTF-8 become U+FFFD.
std::string json_text(const Json& value);

}  // namespace teal::control
