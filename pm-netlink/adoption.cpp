// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/adoption.hpp"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <vector>

namespace pm::netlink {

namespace {

using subflows = std::span<const snapshot_subflow>;

// One connection of a snapshot with its subflows.
struct listed_connection {
	const snapshot_connection &connection;
	subflows its;

	// Who opened the initial subflow; without it, whether any was opened from here: servers do that rarely.
	bool is_client() const
	{
		const auto initial = std::find_if(its.begin(), its.end(), [](const auto &s) { return s.initial; });
		if (initial != its.end())
			return initial->opened_here;
		return std::any_of(its.begin(), its.end(), [](const auto &s) { return s.opened_here; });
	}
	bool is_fully_established() const
	{
		return std::any_of(its.begin(), its.end(),
				   [](const snapshot_subflow &s) { return s.fully_established; });
	}
};

template <class See>
void for_each(const snapshot &listed, See &&see)
{
	auto first = listed.subflows.begin();
	for (const snapshot_connection &connection : listed.connections) {
		while (first != listed.subflows.end() && first->token < connection.token)
			++first;
		auto last = first;
		while (last != listed.subflows.end() && last->token == connection.token)
			++last;
		see(listed_connection{connection, subflows(first, last)});
		first = last;
	}
}

// Where this host has got to, the peer listens: as good as an announcement.
void learn_from_subflows(const snapshot &listed, peers &announced)
{
	for_each(listed, [&](const listed_connection &one) {
		for (const snapshot_subflow &s : one.its) {
			if (s.initial || !s.opened_here || s.opening || same(s.remote, one.connection.remote))
				continue;
			const bool usual = s.remote_port == one.connection.remote_port;
			announced.add(one.connection.remote,
				      {s.remote, usual ? std::uint16_t{0} : s.remote_port, s.remote_id});
		}
	});
}

pm_event about(pm_event_type type, std::uint32_t token)
{
	pm_event event{};
	event.type = static_cast<pm_u8>(type);
	event.token = token;
	return event;
}

template <class Path>
pm_event on_path(pm_event_type type, std::uint32_t token, const Path &path)
{
	pm_event event = about(type, token);
	event.local = path.local;
	event.remote = path.remote;
	event.local_port = path.local_port;
	event.remote_port = path.remote_port;
	event.has_local = event.has_remote = 1;
	return event;
}

pm_event subflow_event(const snapshot_subflow &s)
{
	pm_event event = on_path(s.opening ? PM_SUB_OPENING : PM_SUB_ESTABLISHED, s.token, s);
	event.local_id = s.local_id;
	event.remote_id = s.remote_id;
	event.flags = static_cast<pm_u8>((s.backup ? PM_BACKUP : 0) | (s.asked_backup ? PM_ASKED_BACKUP : 0) |
					 (s.ipv4_socket ? PM_IPV4_SOCKET : 0));
	return event;
}

// Of the addresses in `which` (bits) of a connection.
bool has(const pm_connection &c, unsigned which, const peers::announcement &one)
{
	for (unsigned r = 0; r < PM_MAX_REMOTES; ++r)
		if ((which & bit(r)) && same(c.remote[r], one.address))
			return true;
	return false;
}

// Whether the connection knows another address by the id of this one: its peer is not the host that this was heard of.
bool contradicts(const pm_connection &c, const peers::announcement &one)
{
	for (unsigned r = 1; r < PM_MAX_REMOTES; ++r)
		if ((c.remote_known & ~c.remote_gone & bit(r)) && c.remote_id[r] == one.id &&
		    !same(c.remote[r], one.address))
			return true;
	return false;
}

std::vector<std::uint32_t> not_listed(const snapshot &listed, const manager &known)
{
	std::vector<std::uint32_t> tokens;
	known.for_each([&](const pm_connection &c) {
		const auto at = std::lower_bound(listed.connections.begin(), listed.connections.end(), c.token,
						 [](const snapshot_connection &one, std::uint32_t token) {
							 return one.token < token;
						 });
		if (at == listed.connections.end() || at->token != c.token)
			tokens.push_back(c.token);
	});
	return tokens;
}

template <class Subflow>
bool is_same_subflow(const Subflow &s, const pm_event &event) noexcept
{
	return s.token == event.token && s.local_port == event.local_port && s.remote_port == event.remote_port &&
	       same(s.local, event.local) && same(s.remote, event.remote);
}

bool is_listed(const snapshot &listed, const pm_event &event) noexcept
{
	auto at = std::lower_bound(listed.subflows.begin(), listed.subflows.end(), event.token,
				   [](const snapshot_subflow &s, std::uint32_t token) { return s.token < token; });
	for (; at != listed.subflows.end() && at->token == event.token; ++at)
		if (is_same_subflow(*at, event))
			return true;
	return false;
}

} // namespace

adoption adopt(const snapshot &listed, const manager &known, peers &announced, bool announcements_missed,
	       const kernels_list &kept, const std::function<void(const pm_event &)> &handle)
{
	adoption result;
	for (const std::uint32_t token : not_listed(listed, known)) { // first: their room may be needed
		handle(about(PM_CLOSED, token));
		++result.dropped;
	}
	learn_from_subflows(listed, announced);
	for_each(listed, [&](const listed_connection &one) {
		const std::uint32_t token = one.connection.token;
		const pm_connection *before = known.find(token);
		if (!one.is_fully_established() && !(before && (before->flags & PM_CONN_ESTABLISHED)))
			return;
		const bool is_new = !before;
		handle(about(PM_RESYNC_BEGIN, token));
		if (!known.find(token))
			return; // there was no room for it, which is counted
		result.adopted += is_new;
		pm_event described = on_path(PM_ESTABLISHED, token, one.connection);
		described.flags = static_cast<pm_u8>((one.is_client() ? 0 : PM_SERVER_SIDE) |
						     (one.connection.ipv4_socket ? PM_IPV4_SOCKET : 0));
		handle(described);
		// Those that are there first: each takes the place of one that was being opened when it was last heard of.
		for (const bool opening : {false, true})
			for (const snapshot_subflow &s : one.its)
				if (s.opening == opening)
					handle(subflow_event(s));
		const pm_connection *connection = known.find(token);
		pm_event end = about(PM_RESYNC_END, token);
		if (one.is_client()) {
			// The kernel's list is of this very connection: what the peer took back is not in it.
			const auto exactly = kept(token);
			const auto &heard = exactly ? *exactly : announced.of(one.connection.remote);
			end.flags = exactly ? PM_LISTED_ALL : 0;
			bool contradicted = false;
			for (const peers::announcement &each : heard) {
				const unsigned ever = connection->remote_known, gone = connection->remote_gone;
				const bool usable = has(*connection, ever & ~gone, each);
				if (!exactly && (usable || has(*connection, gone, each)))
					continue;
				if (!exactly && contradicts(*connection, each)) {
					contradicted = true;
					continue;
				}
				pm_event event = about(PM_ANNOUNCED, token);
				event.remote = each.address;
				event.remote_port = each.port;
				event.remote_id = each.id;
				event.has_remote = 1;
				handle(event);
				result.recovered += !usable;
			}
			result.unrecovered += announcements_missed && !exactly && (heard.empty() || contradicted);
		}
		handle(end);
	});
	return result;
}

std::vector<pm_event> still_news(const snapshot &listed, const std::vector<pm_event> &came_meanwhile)
{
	std::unordered_multimap<std::uint32_t, const pm_event *> opened; // since the list was begun, by token
	std::vector<pm_event> news;
	for (const pm_event &event : came_meanwhile) {
		if (event.type == PM_SUB_ESTABLISHED)
			opened.emplace(event.token, &event);
		if (event.type == PM_COMMAND_FAILED && event.command != PM_ANNOUNCE)
			continue;
		const auto [first, last] = opened.equal_range(event.token);
		if (event.type == PM_SUB_CLOSED && !is_listed(listed, event) &&
		    std::none_of(first, last, [&](const auto &each) { return is_same_subflow(*each.second, event); }))
			continue;
		news.push_back(event);
	}
	return news;
}

} // namespace pm::netlink
