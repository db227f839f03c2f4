// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which connections a policy does anything for, so that the others cost next to nothing. Nobody has to declare it: the policy
// is asked what it would do with connections of each kind, with the settings that it is going to have.
#pragma once

#include "pm-bpf/attached.h"
#include "pm-netlink/policies.hpp"

namespace pm::bpf {

// enum pm_interest of one side. Errs on the side of caring.
[[nodiscard]] u32 interest_of(const policy_info &policy, const pm_settings &settings, bool server_side);

} // namespace pm::bpf
