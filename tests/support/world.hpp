// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a kernel would do with one connection: keeps its true state, carries commands out, says what happened as events,
// and can be read back. Peers that refuse some pairs, addresses that come and go, subflows that die.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "tests/support/events.hpp"

namespace pm::test {

class world {
public:
	static constexpr std::uint32_t token = 11;
	static constexpr std::uint8_t addresses = 3; // local and remote ones, numbered from 1; 1 is the initial one

	// `flags`: PM_SERVER_SIDE, PM_DENY_JOIN_ID0. `refused`: bit (local - 1) * addresses + remote - 1.
	world(std::uint8_t flags, std::uint32_t refused)
		: flags_(flags), refused_(refused & ~1u) // the initial pair has worked already
	{
		for (std::uint8_t l = 1; l <= addresses; ++l)
			locals_.insert(l);
		remotes_.insert(1);
	}

	using pair = std::pair<std::uint8_t, std::uint8_t>;

	std::vector<pm_event> begin()
	{
		std::vector<pm_event> events;
		for (const std::uint8_t l : locals_)
			events.push_back(local_added(local4(l), l));
		subflows_[client_port] = {1, 1};
		events.push_back(created(token, local4(1), remote4(1), flags_));
		events.push_back(established(token, local4(1), remote4(1), flags_));
		return events;
	}

	// Something that happens by itself. Any number is an action.
	std::vector<pm_event> act(std::uint32_t action)
	{
		const auto which = static_cast<std::uint8_t>(1 + action / 8 % addresses);
		switch (action % 8) {
		case 0:
		case 1: remotes_.insert(which); return {announced(token, id(which), remote4(which))};
		case 2: remotes_.erase(which); return {removed(token, id(which))};
		case 3: locals_.erase(which); return {local_removed(local4(which))};
		case 4:
		case 5: locals_.insert(which); return {local_added(local4(which), which)};
		case 6: return die(action / 8);
		default: return flags_ & PM_SERVER_SIDE ? peer_opens(which) : std::vector<pm_event>{};
		}
	}

	std::vector<pm_event> carry_out(const pm_command &command)
	{
		const pair where{command.local.bytes[14], command.remote.bytes[14]};
		if (command.type == PM_CLOSE_SUBFLOW) {
			const bool clients = (flags_ & PM_SERVER_SIDE) && command.local_port != client_port;
			const std::uint16_t port = clients ? command.remote_port : command.local_port;
			if (subflows_.erase(port) == 0)
				return {};
			return {about(PM_SUB_CLOSED, port, where)};
		}
		if (command.type == PM_WITHDRAW) // RM_ADDR is not sent again: every other one does not get there
			return ++withdrawals_ % 2 ? peer_closes(where.first) : std::vector<pm_event>{};
		if (command.type == PM_ANNOUNCE || command.type == PM_SET_BACKUP)
			return {}; // done, and nothing said of it
		if (!locals_.count(where.first))
			return {answer(PM_COMMAND_FAILED, command, 0)};
		const std::uint16_t port = next_port_++;
		const unsigned bit = (where.first - 1u) * addresses + where.second - 1u;
		if (!remotes_.count(where.second) || (refused_ >> bit & 1))
			return {about(PM_SUB_CLOSED, port, where)};
		subflows_[port] = where;
		return {about(PM_SUB_ESTABLISHED, port, where)};
	}

	// The true state: the namespace's, then the connection's between RESYNC_BEGIN and RESYNC_END. The kernel cannot list
	// what the peer announces; `announcements`: somebody can.
	std::vector<pm_event> read_back(bool announcements = true) const
	{
		std::vector<pm_event> events;
		for (std::uint8_t l = 1; l <= addresses; ++l)
			if (!locals_.count(l))
				events.push_back(local_removed(local4(l)));
		for (const std::uint8_t l : locals_)
			events.push_back(local_added(local4(l), l));
		events.push_back(event(PM_RESYNC_BEGIN, token));
		events.push_back(established(token, local4(1), remote4(1), flags_));
		if (announcements)
			for (const std::uint8_t r : remotes_)
				events.push_back(announced(token, id(r), remote4(r)));
		for (const auto &[port, where] : subflows_)
			events.push_back(about(PM_SUB_ESTABLISHED, port, where));
		for (std::uint8_t r = 1; r <= addresses; ++r)
			if (announcements && !remotes_.count(r) && (r == 1 || used(r)))
				events.push_back(removed(token, id(r)));
		events.push_back(event(PM_RESYNC_END, token));
		events.back().flags = announcements ? PM_LISTED_ALL : 0;
		return events;
	}

	// How many subflows there are on each pair of addresses; and those of them that are there, or of which one is gone.
	std::map<pair, int> paths() const
	{
		std::map<pair, int> counts;
		for (const auto &[port, where] : subflows_)
			++counts[where];
		return counts;
	}
	std::map<pair, int> paths(bool there) const
	{
		auto counts = paths();
		std::erase_if(counts, [&](const auto &each) {
			return there != (locals_.count(each.first.first) && remotes_.count(each.first.second));
		});
		return counts;
	}

private:
	static std::uint8_t id(std::uint8_t address) { return static_cast<std::uint8_t>(address - 1); }

	bool used(std::uint8_t remote) const
	{
		return std::any_of(subflows_.begin(), subflows_.end(),
				   [&](const auto &s) { return s.second.second == remote; });
	}

	// The port that names a subflow is the client's.
	pm_event about(pm_event_type type, std::uint16_t port, pair where) const
	{
		const bool server = flags_ & PM_SERVER_SIDE;
		pm_event e = on_path(type, token, local4(where.first), remote4(where.second),
				     server && port != client_port ? server_port : port,
				     server && port != client_port ? port : server_port);
		e.remote_id = id(where.second);
		return e;
	}

	std::vector<pm_event> die(std::uint32_t choice)
	{
		if (subflows_.empty())
			return {};
		auto victim = std::next(subflows_.begin(), choice % subflows_.size());
		if (++deaths_[victim->second] >= PM_MAX_CLOSURES) // more, and it is right to leave the pair alone
			return {};
		const pm_event e = about(PM_SUB_CLOSED, victim->first, victim->second);
		subflows_.erase(victim);
		return {e};
	}

	// All that stands on a local address, which it heard is gone.
	std::vector<pm_event> peer_closes(std::uint8_t local)
	{
		std::vector<pm_event> events;
		for (const auto &[port, where] : subflows_)
			if (where.first == local)
				events.push_back(about(PM_SUB_CLOSED, port, where));
		std::erase_if(subflows_, [&](const auto &each) { return each.second.first == local; });
		return events;
	}

	std::vector<pm_event> peer_opens(std::uint8_t which)
	{
		if (!locals_.count(1) || !remotes_.count(which))
			return {};
		const std::uint16_t port = next_port_++;
		subflows_[port] = {1, which};
		return {about(PM_SUB_ESTABLISHED, port, {1, which})};
	}

	std::uint8_t flags_;
	std::uint32_t refused_;
	std::set<std::uint8_t> locals_, remotes_;
	std::map<std::uint16_t, pair> subflows_;
	std::map<pair, int> deaths_;
	unsigned withdrawals_ = 0;
	std::uint16_t next_port_ = 50000;
};

} // namespace pm::test
