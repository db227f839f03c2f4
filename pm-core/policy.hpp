// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a policy sees (view), what it answers (pm_plan) and what it must declare (the concept `policy`).
#pragma once

#include "connection.hpp"

namespace pm {

// A setting of a policy: a number with bounds. `pathlab policies` prints it, `--set NAME=VALUE` gives it. An interface is
// given by its name, or its index; 0: none.
struct setting {
	const char *name;
	const char *help;
	u32 least;
	u32 most;
	u32 preset;
	bool is_interface = false;
};

// What a policy without settings declares.
struct no_settings {
	constexpr const setting *begin() const { return nullptr; }
	constexpr const setting *end() const { return nullptr; }
};

// A connection as it is now, as far as a policy may look. What each address pair is asked for is taken down once: a plan is
// written as bytes, after any of which the compiler would have to read it all again.
class view {
public:
	PM_INLINE constexpr view(const pm_namespace &ns, const pm_connection &connection)
		: ns_(ns), connection_(connection), usable_locals_(find_usable_locals(connection)),
		  usable_remotes_(find_usable_remotes(connection)), local_ipv4_(connection.local_ipv4),
		  remote_ipv4_(connection.remote_ipv4)
	{
	}

	PM_INLINE constexpr bool server_side() const { return connection_.flags & PM_CONN_SERVER_SIDE; }

	// The interface that has local address `local`; 0 if the namespace does not list that address.
	PM_INLINE constexpr u32 ifindex(unsigned local) const
	{
		const pm_connection &c = connection_;
		const unsigned l = local & (PM_MAX_LOCALS - 1);
		return c.local_listed & bit(l) ? ns_.ifindex[c.local_from[l] & (PM_MAX_LOCALS - 1)] : 0;
	}

	// Whether the initial subflow, should it be there, is to stay: both its addresses are.
	PM_INLINE constexpr bool initial_stands() const
	{
		return !((connection_.local_gone | connection_.remote_gone) & bit(0));
	}

	// Local addresses that a new subflow may use: those of the namespace, and the connection's own unless removed; of a
	// family that its socket can have.
	PM_INLINE constexpr u8 usable_locals() const { return usable_locals_; }

	// Remote addresses that a new subflow may go to. A peer that set the C flag takes no join at its initial address
	// and port (RFC 8684, 3.1).
	PM_INLINE constexpr u8 usable_remotes() const { return usable_remotes_; }

	// The remote addresses that local address `local` can be paired with: usable, and of its own family.
	PM_INLINE constexpr u8 partners(unsigned local) const
	{
		if (!(usable_locals_ & bit(local)))
			return 0;
		return usable_remotes_ & (local_ipv4_ & bit(local) ? remote_ipv4_ : static_cast<u8>(~remote_ipv4_));
	}

private:
	static PM_INLINE constexpr u8 find_usable_locals(const pm_connection &c)
	{
		const u8 family = c.flags & PM_CONN_IPV4_SOCKET ? c.local_ipv4 : static_cast<u8>(0xff);
		return static_cast<u8>((c.local_listed | (c.locals & 1)) & ~c.local_gone & family);
	}
	static PM_INLINE constexpr u8 find_usable_remotes(const pm_connection &c)
	{
		const u8 denied = c.flags & PM_CONN_DENY_JOIN_ID0 ? 1 : 0;
		return static_cast<u8>(c.remote_known & ~c.remote_gone & ~denied);
	}

	const pm_namespace &ns_;
	const pm_connection &connection_;
	u8 usable_locals_, usable_remotes_, local_ipv4_, remote_ipv4_;
};

// A policy declares its name, one line of help, its settings and whether it opens subflows from the server side too
// (by default only the client does: the server's addresses are the ones that can be reached). plan() fills in an empty
// plan; the initial subflow stays whether it is planned or not. On the server's side, unless it opens subflows there, only
// what it announces and its backups count.
template <class P>
concept policy = requires(const view &v, const pm_settings &settings, pm_plan &plan) {
	static_cast<const char *>(P::name);
	static_cast<const char *>(P::help);
	static_cast<bool>(P::opens_from_server);
	P::settings;
	P::plan(v, settings, plan);
};

} // namespace pm
