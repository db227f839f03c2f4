// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// announce: tells the peer of every other local address, so that it can open subflows to them; takes an address back when
// it is removed. For servers; a client's connections are left alone. With a port, the peer joins on that one, where
// something must listen.
#pragma once

#include "../policy.hpp"

namespace pm::policies {

struct announce {
	static constexpr const char *name = "announce";
	static constexpr const char *help = "as the server, announce every local address but the connection's own";
	static constexpr bool opens_from_server = false;
	static constexpr setting settings[] = {
		{"port", "port to announce the addresses with; 0: without one", 0, 65535, 0},
	};

	static PM_INLINE constexpr void plan(const view &v, const pm_settings &settings, pm_plan &plan)
	{
		if (!v.server_side())
			return;
		plan.announce = static_cast<u8>(v.usable_locals() & ~bit(0));
		plan.announce_port = static_cast<u16>(settings.value[0]);
	}
};

} // namespace pm::policies
