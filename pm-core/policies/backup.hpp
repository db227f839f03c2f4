// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// backup: fullmesh, and the subflows of one interface carry the backup flag: the peer and this side use them only while no
// other subflow works (RFC 8684, 3.3.8). For a metered link beside a cheap one.
#pragma once

#include "fullmesh.hpp"

namespace pm::policies {

struct backup {
	static constexpr const char *name = "backup";
	static constexpr const char *help = "fullmesh, with the subflows of one interface as backups";
	static constexpr bool opens_from_server = false;
	static constexpr setting settings[] = {
		{"backup-interface", "interface whose subflows are backups", 0, 0x7fffffff, 0, true},
	};

	static PM_INLINE constexpr void plan(const view &v, const pm_settings &settings, pm_plan &plan)
	{
		fullmesh::plan(v, settings, plan);
		for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
			if (settings.value[0] && v.ifindex(l) == settings.value[0])
				plan.backup |= bit(l);
	}
};

} // namespace pm::policies
