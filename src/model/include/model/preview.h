// SPDX-License-Identifier: Apache-2.0
// The preview VIP of a service: a second address whose new flows always go to the standby pool. To the packet path it
// is a service like any other, derived from the one it previews: NAME@preview, in the group GROUP@preview, which has a
// split of its own. A file's names have no '@', so the two never meet.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace teal::model {

inline constexpr std::string_view preview_suffix = "@preview";

// Where the service is previewed: preview.vip and preview.port, the one left out taken from the service. None when both
// are left out.
std::optional<Endpoint> preview_endpoint(const ServiceConfig& service);

std::string preview_name(std::string_view name);  // of a service or a group
// "web" of "web@preview"; none for a name that is no preview's.
std::optional<std::string_view> previewed_name(std::string_view name);

// `services`, then the derived service of each that has a preview endpoint: same protocol, forward, backends, health;
// `active` is the other pool. Only a beginning: whoever changes a group's active pool changes its preview's split the
// other way. With l2dsr and ipip, which leave the destination port as it is, the backends' port is the preview's.
// Derived services among `services` are made anew, so that it may be called on its own result.
std::vector<ServiceConfig> with_previews(const std::vector<ServiceConfig>& services);

}  // namespace teal::model
