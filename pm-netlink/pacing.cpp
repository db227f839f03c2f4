// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/pacing.hpp"

namespace pm::netlink {

bool pacer::is_for_later(const pm_result &result)
{
	return result.exhausted != 0 || (result.kept & PM_KEPT_UNTIL_RETRY);
}

void pacer::note(const pm_result &result, std::uint64_t now)
{
	pm_connection *connection = manager_.find(result.token);
	if (!connection)
		return;
	const auto this_second = static_cast<u16>(now / second);
	if (connection->shell_second != this_second) {
		// Quiet for longer than the latest delay: what fails now is something else. (That subflows were established
		// says nothing: a peer may refuse them right after.)
		const unsigned tries = connection->shell_tries & ~unsigned{is_waiting};
		if (static_cast<u16>(this_second - connection->shell_second) > 2u << tries)
			connection->shell_tries &= is_waiting;
		connection->shell_second = this_second;
		connection->shell_spent = 0;
	}
	connection->shell_spent = static_cast<u16>(connection->shell_spent + result.commands);
	const bool too_many = connection->shell_spent > most_commands_per_second;
	if (too_many && !(connection->flags & PM_CONN_HELD)) {
		connection->flags |= PM_CONN_HELD;
		++holds_;
		schedule(*connection, now + second); // an appointment that it has may be a minute off
		return;
	}
	if (result.kept & PM_KEPT_UNTIL_RETRY) {
		const auto at = due_.find(result.token);
		if (at == due_.end() || at->second > now + second)
			schedule(*connection, now + second);
	} else if (result.exhausted && !(connection->shell_tries & is_waiting)) {
		const unsigned tries = connection->shell_tries;
		connection->shell_tries = static_cast<u8>(std::min(tries + 1, longest_delay_log2));
		schedule(*connection, now + (second << tries));
	}
}

void pacer::schedule(pm_connection &connection, std::uint64_t due)
{
	connection.shell_tries |= is_waiting;
	if (waiting_.size() >= 1024 && waiting_.size() >= 2 * manager_.connections())
		forget_closed();
	const auto [at, is_new] = due_.try_emplace(connection.token, due);
	if (!is_new)
		waiting_.erase({std::exchange(at->second, due), connection.token});
	waiting_.emplace(due, connection.token);
}

void pacer::forget_closed()
{
	std::erase_if(waiting_, [&](const auto &appointment) {
		const pm_connection *connection = manager_.find(appointment.second);
		const bool forgotten = !connection || !(connection->shell_tries & is_waiting);
		if (forgotten)
			due_.erase(appointment.second);
		return forgotten;
	});
}

} // namespace pm::netlink
