// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/interest.hpp"

#include <vector>

#include "pm-core/engine.hpp"

namespace pm::bpf {

namespace {

constexpr u16 here = 40000, there = 443;
constexpr u32 any_interface = 1;

pm_addr local(u8 path) { return ipv4(10, 0, path, 1); }
pm_addr remote(u8 path) { return ipv4(10, 0, path, 2); }

pm_event event_of(pm_event_type type, u8 remote_path)
{
	pm_event event{};
	event.type = static_cast<u8>(type);
	event.token = 1;
	event.local = local(1);
	event.remote = remote(remote_path);
	event.has_local = event.has_remote = 1;
	event.local_port = here;
	event.remote_port = there;
	return event;
}

struct kind {
	bool further_locals = false, announced = false, joined = false;
};

// One connection of a kind, seen by the policy from its beginning.
struct trial {
	const policy_info &policy;
	const pm_settings &settings;
	u8 flags;
	u32 interface; // of one address
	bool on_first; // ... the connection's own; otherwise the other one

	// By the last thing that is told of it.
	bool causes_commands(const kind &of) const
	{
		pm_namespace ns{};
		pm_connection connection{};
		pm_result result{};
		list(ns, 1, on_first ? interface : any_interface, result);
		if (of.further_locals)
			list(ns, 2, on_first ? any_interface + 1 : interface, result);
		unsigned commands = 0;
		const auto tell = [&](const pm_event &event) {
			policy.handle(ns, connection, event, settings, result);
			commands = result.commands;
		};
		pm_event established = event_of(PM_ESTABLISHED, 1);
		established.flags = flags;
		tell(established);
		if (of.announced) {
			pm_event announced = event_of(PM_ANNOUNCED, 2);
			announced.remote_id = 1;
			tell(announced);
		}
		if (of.joined) {
			pm_event joined = event_of(PM_SUB_ESTABLISHED, 3);
			joined.remote_port = there + 1;
			joined.remote_id = 2;
			tell(joined);
		}
		return commands > 0;
	}

	static void list(pm_namespace &ns, u8 path, u32 on, pm_result &result)
	{
		pm_event added{};
		added.type = PM_LOCAL_ADDED;
		added.local = local(path);
		added.has_local = 1;
		added.ifindex = on;
		fold_namespace(ns, added, result);
	}
};

// Interfaces that the settings name, and one that they do not.
std::vector<u32> interfaces(const policy_info &policy, const pm_settings &settings)
{
	std::vector<u32> all{any_interface};
	for (std::size_t i = 0; i < policy.settings.size(); ++i)
		if (policy.settings[i].is_interface && settings.value[i])
			all.push_back(settings.value[i]);
	return all;
}

} // namespace

u32 interest_of(const policy_info &policy, const pm_settings &settings, bool server_side)
{
	kind alone, locals, remotes, joins;
	locals.further_locals = remotes.further_locals = remotes.announced = joins.joined = true;
	u32 interest = 0;
	for (const u32 interface : interfaces(policy, settings))
		for (const bool on_first : {true, false})
			for (const bool denies : {false, true}) {
				const trial each{policy, settings,
						 static_cast<u8>((server_side ? PM_SERVER_SIDE : 0) |
								 (denies ? PM_DENY_JOIN_ID0 : 0)),
						 interface, on_first};
				const auto cares = [&](const kind &of, pm_interest what) {
					interest |= each.causes_commands(of) ? static_cast<u32>(what) : 0;
				};
				cares(alone, PM_CARES_ALONE);
				cares(locals, PM_CARES_LOCALS);
				cares(remotes, PM_CARES_REMOTES);
				// On the client's side what the peer opens is planned for, or one too many: rare, and seen then.
				if (server_side)
					cares(joins, PM_CARES_JOINS);
			}
	return interest;
}

} // namespace pm::bpf
