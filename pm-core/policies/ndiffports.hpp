// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// ndiffports: several subflows between the two addresses that the connection was opened on, each from a source port of
// its own, so that a network which spreads flows by their ports (ECMP) uses several paths. Not for hosts with several
// interfaces; a peer that refuses joins to its initial address gets none.
#pragma once

#include "../policy.hpp"

namespace pm::policies {

struct ndiffports {
	static constexpr const char *name = "ndiffports";
	static constexpr const char *help =
		"several subflows between the initial addresses, from different source ports";
	static constexpr bool opens_from_server = false;
	static constexpr setting settings[] = {
		{"subflows", "subflows of a connection, the initial one included", 1, 8, 2},
	};

	static PM_INLINE constexpr void plan(const view &v, const pm_settings &settings, pm_plan &plan)
	{
		if (v.partners(0) & bit(0))
			plan.subflows[0][0] = static_cast<u8>(settings.value[0]);
	}
};

} // namespace pm::policies
