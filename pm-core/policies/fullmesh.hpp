// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// fullmesh: one subflow on every usable pair of a local and a remote address.
// For hosts with several interfaces that want every path. The number of subflows is the product of both sides.
#pragma once

#include "../policy.hpp"

namespace pm::policies {

struct fullmesh {
	static constexpr const char *name = "fullmesh";
	static constexpr const char *help = "one subflow on every usable pair of a local and a remote address";
	static constexpr bool opens_from_server = false;
	static constexpr no_settings settings{};

	static PM_INLINE constexpr void plan(const view &v, const pm_settings &, pm_plan &plan)
	{
		for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
			const u8 remotes = v.partners(l);
			for (unsigned r = 0; r < PM_MAX_REMOTES; ++r)
				if (remotes & bit(r))
					plan.subflows[l][r] = 1;
		}
	}
};

} // namespace pm::policies
