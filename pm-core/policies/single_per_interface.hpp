// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// single-per-interface: one subflow from each local interface, whatever number of addresses either side has.
// For hosts that want one path for each of their links. It goes to the initial remote address where it can, as the
// endpoints of the kernel's own path manager do without their `fullmesh` flag.
#pragma once

#include "../policy.hpp"

namespace pm::policies {

struct single_per_interface {
	static constexpr const char *name = "single-per-interface";
	static constexpr const char *help = "one subflow from each local interface";
	static constexpr bool opens_from_server = false;
	static constexpr no_settings settings{};

	static PM_INLINE constexpr void plan(const view &v, const pm_settings &, pm_plan &plan)
	{
		if (v.initial_stands())
			plan.subflows[0][0] = 1;
		for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
			const u8 remotes = v.partners(l);
			if (remotes && !planned_on_interface_of(v, l, plan))
				plan.subflows[l][lowest_bit(remotes) & (PM_MAX_REMOTES - 1)] = 1;
		}
	}

	// Not 0 if a subflow is planned on the interface of local address `local`.
	static PM_INLINE constexpr u64 planned_on_interface_of(const view &v, unsigned local, const pm_plan &plan)
	{
		const u32 index = v.ifindex(local);
		u64 planned = plan.row[local];
		for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
			if (index && v.ifindex(l) == index)
				planned |= plan.row[l];
		return planned;
	}
};

} // namespace pm::policies
