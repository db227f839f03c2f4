// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager may do once it has started: CAP_NET_ADMIN, and never more again.
#pragma once

#include "pm-netlink/error.hpp"

namespace pm::netlink {

// For a process of one thread. Gives up every other capability, for good: also through exec.
[[nodiscard]] expected<void> keep_only_net_admin();

} // namespace pm::netlink
