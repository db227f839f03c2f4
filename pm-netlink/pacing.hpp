// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A manager with a clock, which the engine has not: what failed is tried again later, and later each time; a connection
// that causes too many commands, because its peer flaps or worse, is held for a while. So no peer can make this host work
// without bound. Held or not, every event is folded in: what is decided in the end is decided on the state as it is then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "pm-netlink/manager.hpp"

namespace pm::netlink {

class pacer {
public:
	static constexpr std::uint64_t second = 1'000'000'000;
	// More than the largest plan that a policy can have takes at once.
	static constexpr unsigned most_commands_per_second = 2 * PM_MAX_SUBFLOWS;
	static constexpr unsigned longest_delay_log2 = 6; // retries after 1, 2, 4 ... 64 seconds

	explicit pacer(manager &managed) noexcept : manager_(managed) {}

	// manager::handle(), and emit(const pm_command &) for each command that results.
	template <class Emit>
	void handle(const pm_event &event, std::uint64_t now, Emit &&emit);

	// Looks again at connections whose time has come, some hundreds of them at most.
	template <class Emit>
	void retry_due(std::uint64_t now, Emit &&emit);
	[[nodiscard]] std::optional<std::uint64_t> next_due() const noexcept
	{
		return waiting_.empty() ? std::nullopt : std::optional{waiting_.begin()->first};
	}

	[[nodiscard]] std::uint64_t retries() const noexcept { return retries_; }
	[[nodiscard]] std::uint64_t holds() const noexcept { return holds_; }
	[[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

private:
	static constexpr u8 is_waiting = 0x80; // in pm_connection::shell_tries; the rest: how often it was tried
	static constexpr std::size_t most_at_once = 256;

	// Whether it is to be handled again, as PM_RETRY.
	[[nodiscard]] static bool is_for_later(const pm_result &result);
	// A connection has caused commands, or is to be handled again.
	void note(const pm_result &result, std::uint64_t now);
	void schedule(pm_connection &connection, std::uint64_t due);
	void forget_closed();

	manager &manager_;
	// When, and who: one for each waiting connection, and those of some that have closed.
	std::set<std::pair<std::uint64_t, u32>> waiting_;
	std::unordered_map<u32, std::uint64_t> due_; // the same by token
	std::uint64_t retries_ = 0, holds_ = 0;
};

template <class Emit>
void pacer::handle(const pm_event &event, std::uint64_t now, Emit &&emit)
{
	manager_.handle(event, [&](const pm_result &result) {
		if (result.commands == 0 && !is_for_later(result))
			return;
		for (unsigned i = 0; i < result.commands; ++i)
			emit(result.command[i]);
		note(result, now);
	});
}

template <class Emit>
void pacer::retry_due(std::uint64_t now, Emit &&emit)
{
	for (std::size_t done = 0; done < most_at_once && !waiting_.empty() && waiting_.begin()->first <= now; ++done) {
		const u32 token = waiting_.begin()->second;
		waiting_.erase(waiting_.begin());
		due_.erase(token);
		pm_connection *connection = manager_.find(token);
		if (!connection || !(connection->shell_tries & is_waiting))
			continue; // closed, perhaps followed by another one with the same token
		connection->shell_tries &= static_cast<u8>(~is_waiting);
		++retries_;
		pm_event again{};
		again.type = PM_RETRY;
		again.token = token;
		handle(again, now, emit);
	}
}

} // namespace pm::netlink
