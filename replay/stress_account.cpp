// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stress_account.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

namespace pm::replay {

namespace {

constexpr double most_jump_ms = 20;
constexpr double most_stretch = 1.1; // of the time that opening takes
constexpr double start_up_seconds = 0.05; // that a short load may take longer whatever its length
constexpr double most_late_ms = 50;
constexpr double most_failed = 0.01; // share

tl::unexpected<error> does_not_close(const std::string &what)
{
	return fail("the sums of the run do not close: " + what);
}

// What was read and not seen: what is neither lost nor left, as far as reads were not looked at.
std::uint64_t read_unseen(const events_seen &seen)
{
	if (seen.sockets.size() != 1)
		return 0;
	const std::uint64_t known = seen.read + seen.sockets.front().dropped + seen.sockets.front().unread;
	return std::min(seen.sent - std::min(known, seen.sent), seen.not_looked_at);
}

// Where reads were not seen, it is what the path manager says of all of them, or what is neither lost nor left.
std::uint64_t read_by_implication(const events_seen &seen, const std::optional<events_told> &told)
{
	if (told && seen.sockets.size() == 1)
		return told->delivered + told->refused;
	const std::uint64_t known = seen.sockets.empty() ? 0
							 : seen.sockets.back().dropped + seen.sockets.back().unread;
	return seen.sent - std::min(known, seen.sent);
}

// What the sockets lost: the latest one by its own counters; those before it, which nobody read in the end, what is left.
expected<void> add_sockets(event_account &account, const events_seen &seen)
{
	const socket_seen &latest = seen.sockets.back();
	const std::uint64_t known = seen.read + latest.dropped + latest.unread;
	account.lost["socket"] = latest.dropped;
	account.lost["unread"] = latest.unread;
	const std::uint64_t before = std::accumulate(seen.sockets.begin(), seen.sockets.end() - 1, std::uint64_t{0},
						     [](std::uint64_t sum, const socket_seen &s) {
							     return sum + s.dropped + s.unread;
						     });
	if (known > seen.sent || seen.sent - known > before)
		return does_not_close(fmt::format("{} events were sent; {} were read, {} dropped and {} left in the "
						  "socket{}",
						  seen.sent, seen.read, latest.dropped, latest.unread,
						  before ? fmt::format(", {} lost to an earlier one", before) : ""));
	account.lost["overrun"] = seen.sent - known;
	return {};
}

// One that is handed its events, and listens on no socket: what it was not handed, it says itself or it is known from what
// was sent.
expected<std::uint64_t> add_handed(event_account &account, const events_seen &seen, const events_told &told)
{
	const std::uint64_t handed = told.delivered + told.refused;
	if (told.by == events_told::way::call) {
		if (handed > seen.sent)
			return does_not_close(fmt::format("{} events were sent, but the kernel called the path manager {} times",
							  seen.sent, handed));
		account.lost["uncalled"] = seen.sent - handed;
		return handed;
	}
	// It may have to take losses of other namespaces for its own.
	if (handed > seen.sent || handed + told.lost < seen.sent)
		return does_not_close(
			fmt::format("{} events were sent; {} came through the ring buffer, which lost {} at the most",
				    seen.sent, handed, told.lost));
	account.lost["ringbuf"] = seen.sent - handed;
	return handed;
}

} // namespace

// CREATED, ESTABLISHED and CLOSED; of a subflow that went before its connection did, SUB_CLOSED.
std::uint64_t implied_events(const connections_seen &seen) noexcept
{
	return 3 * seen.made + seen.subflows_up + seen.subflows_up - std::min(seen.subflows_up, seen.subflows_at_end) +
	       seen.announced + seen.withdrawn;
}

expected<event_account> account_for(const events_seen &from_outside, const std::optional<events_told> &told)
{
	events_seen seen = from_outside;
	seen.read = seen.implied ? read_by_implication(seen, told) : seen.read + read_unseen(seen);
	event_account account;
	account.emitted = seen.sent;
	account.emitted_by = seen.implied ? "implied" : "probe";
	for (const char *stage : loss_stages)
		account.lost[stage] = 0;
	const bool handed = told && told->by != events_told::way::socket;
	std::uint64_t read = seen.read;
	if (handed) {
		const auto added = add_handed(account, seen, *told);
		if (!added)
			return tl::unexpected(added.error());
		read = *added;
	} else if (seen.sockets.empty()) {
		return does_not_close("the path manager listens on no socket");
	} else if (auto added = add_sockets(account, seen); !added) {
		return tl::unexpected(added.error());
	}
	account.delivered = read;
	if (!told)
		return account;
	// What read its events before a plugin of ours took over says nothing of those.
	const bool all_told = handed || seen.sockets.size() == 1;
	if (all_told ? told->delivered + told->refused != read : told->delivered + told->refused > read)
		return does_not_close(
			fmt::format("the path manager says that it was handed {} events, but {} were read "
				    "from its socket",
				    told->delivered + told->refused, read));
	if (!handed && told->lost != account.lost["socket"])
		return does_not_close(
			fmt::format("the path manager says that it lost {} events, but the kernel dropped {}",
				    told->lost, account.lost["socket"]));
	if (told->refused + told->table_full > read)
		return does_not_close(fmt::format("the path manager says that it refused {} events, of {} that it read",
						  told->refused + told->table_full, read));
	account.lost["refused"] = told->refused;
	account.lost["table"] = told->table_full;
	account.delivered = read - told->refused - told->table_full;
	if (all_told && told->by != events_told::way::call) // which looks at connections, not at events
		account.acted_on = account.delivered - std::min(account.delivered, told->idle);
	return account;
}

std::optional<std::string> why_excluded(const run_conditions &c)
{
	if (c.account_error)
		return *c.account_error;
	if (std::abs(c.clock_jump_ms) > most_jump_ms)
		return fmt::format("the clock jumped by {:.0f} ms", c.clock_jump_ms);
	if (static_cast<double>(c.failed) > most_failed * static_cast<double>(c.asked))
		return fmt::format("{} of {} connections could not be made: {}", c.failed, c.asked, c.first_failure);
	if (c.needs_loss && c.lost == 0)
		return "no event was lost, so there was no overrun to recover from: more connections are needed";
	if (c.at_full_rate)
		return std::nullopt;
	if (c.opening_seconds > most_stretch * c.scheduled_seconds + start_up_seconds)
		return fmt::format(
			"the load generator could not keep its rate: it took {:.2f} s for what should have taken "
			"{:.2f} s",
			c.opening_seconds, c.scheduled_seconds);
	if (c.late_p99_ms > most_late_ms)
		return fmt::format(
			"the load generator could not keep its rate: one in a hundred {} {:.0f} ms late, or more", c.each,
			c.late_p99_ms);
	return std::nullopt;
}

} // namespace pm::replay
