// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a policy sees (view), what it answers (pm_plan) and what it must declare (the concept `policy`).
#pragma once

#include "connection.hpp"

namespace pm {

// A setting of a policy: a number with bounds. `pathlab policies` prints it, `--set NAME=VALUE` gives it.
struct setting {
	const char *name;
	const char *help;
	u32 least;
	u32 most;
	u32 preset;
};

// What a policy without settings declares.
struct no_settings {
	constexpr const setting *begin() const { return nullptr; }
	constexpr const setting *end() const { return nullptr; }
};

// A connection as it is now, as far as a policy may look.
struct view {
	const pm_connection &connection;


	// Local addresses that a new subflow may use: those of the namespace, and the connection's own unless removed.
	PM_INLINE constexpr u8 usable_locals() const
	{
		const pm_connection &c = connection;
		return static_cast<u8>((c.local_listed | (c.locals & 1)) & ~c.local_gone);
	}

	// Remote addresses that a new subflow may go to. A peer that set the C flag takes no join at its initial address
	// and port (RFC 8684, 3.1).
	PM_INLINE constexpr u8 usable_remotes() const
	{
		const pm_connection &c = connection;
		const u8 denied = c.flags & PM_CONN_DENY_JOIN_ID0 ? 1 : 0;
		return static_cast<u8>(c.remote_known & ~c.remote_gone & ~denied);
	}

	// The remote addresses that local address `local` can be paired with: usable, and of its own family.
	PM_INLINE constexpr u8 partners(unsigned local) const
	{
		const pm_connection &c = connection;
		if (!(usable_locals() & bit(local)))
			return 0;
		return usable_remotes() & (c.local_ipv4 & bit(local) ? c.remote_ipv4 : static_cast<u8>(~c.remote_ipv4));
	}
};

// A policy declares its name, one line of help, its settings and whether it opens subflows from the server side too
// (by default only the client does: the server's addresses are the ones that can be reached). plan() is called with a
// plan that holds nothing but the initial subflow.
template <class P>
concept policy = requires(const view &v, const pm_settings &settings, pm_plan &plan) {
	static_cast<const char *>(P::name);
	static_cast<const char *>(P::help);
	static_cast<bool>(P::opens_from_server);
	P::settings;
	P::plan(v, settings, plan);
};

} // namespace pm
