// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which open connections lack a path, and for how long: asked of their sockets by the thread that makes the load, between
// opening others. A connection is asked a millisecond after it has been answered, and again and again until it has what it
// should have; all this takes no more than a twentieth of that thread's processor time, so the more connections lack a path
// the less often is each one asked. Asking gets in the way of a path manager, which needs the same lock: where many short connections
// are made, some stand for all, and a four-hundredth of the time is taken.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace pm::replay {

class path_watch {
public:
	using clock = std::chrono::steady_clock;

	// ---- from any thread ----

	// How many subflows beyond the first a connection should have, by its family. Said anew while connections are open, it
	// is for those too, and they are to have no more than that.
	void expect(unsigned ipv4, unsigned ipv6) noexcept;
	// Before the load: one in so many is asked, and stands for the others. That a path was not even begun when a connection
	// is closed is known of all.
	void ask_one_in(unsigned number) noexcept { every_ = number; }
	void close_all() noexcept { close_all_.store(true); } // those that are held, whatever their time

	[[nodiscard]] std::uint64_t open() const noexcept { return open_.load(); }
	[[nodiscard]] std::uint64_t failed() const noexcept { return failed_.load(); }
	[[nodiscard]] std::uint64_t unsettled() const noexcept
	{
		return unsettled_count_.load();
	} // not yet as they should be
	// How often the expectation has changed, as the load's thread knows: figures are of this one.
	[[nodiscard]] unsigned generation() const noexcept { return seen_.load(); }

	// ---- from the thread that makes the load ----

	void begin(std::uint64_t connections, clock::time_point now);
	void answered(std::uint64_t connection, int fd, bool ipv6);
	// Before its socket is closed, with as many subflows beyond the first as it says that it has, also those that are
	// being opened.
	void closing(std::uint64_t connection, bool ipv6, unsigned subflows);
	// Instead: it has failed, or fallen back to TCP, so there are no paths that it could lack.
	void forget(std::uint64_t connection);
	void look(clock::time_point now); // at a few
	[[nodiscard]] clock::time_point next_look() const noexcept { return next_; }
	[[nodiscard]] bool closes_all() const noexcept { return close_all_.load(std::memory_order_relaxed); }

	// ---- when the load is over ----

	struct result {
		std::uint64_t expected = 0; // paths, of all connections when they were closed
		std::uint64_t missing = 0; // of these
		std::uint64_t lacking_at_end = 0; // connections that lacked a path when they were closed
		std::uint64_t most_lacking = 0; // open at the same time
		double path_seconds = 0; // how long paths were missing, added up
		std::vector<std::pair<std::uint64_t, std::uint64_t>> timeline; // milliseconds, lacking from then on
	};
	[[nodiscard]] result take();

private:
	static constexpr std::uint32_t nowhere = UINT32_MAX;
	struct watched {
		clock::time_point looked{};
		int fd = -1;
		std::uint32_t place = nowhere; // in unsettled_
		std::uint8_t have = 0;
		bool ipv6 = false;
		bool lacks = false;
	};

	[[nodiscard]] unsigned wanted(bool ipv6) const noexcept { return ipv6 ? ipv6_ : ipv4_; }
	[[nodiscard]] unsigned wanted(const watched &one) const noexcept { return wanted(one.ipv6); }
	void ask(std::uint64_t connection, clock::time_point now);
	void let_go(std::uint64_t connection);
	void settle(std::uint64_t connection); // out of unsettled_
	void take_over_expectation();
	void note(clock::time_point now);

	std::atomic<std::uint64_t> told_{0}; // generation, ipv6, ipv4
	std::atomic<std::uint64_t> open_{0}, failed_{0}, lacking_{0}, unsettled_count_{0};
	std::atomic<unsigned> seen_{0};
	std::atomic<bool> close_all_{false};

	unsigned ipv4_ = 0, ipv6_ = 0;
	bool exactly_ = false;
	unsigned every_ = 1;
	std::vector<watched> all_; // by connection
	std::vector<std::uint64_t> unsettled_;
	std::size_t cursor_ = 0; // of unsettled_: those before it are still to be asked in this round
	clock::time_point begun_{}, next_{}, round_began_{}, next_note_{};
	clock::time_point rested_{}; // no earlier may the next round begin
	std::uint64_t closed_ = 0;
	clock::duration round_cost_{}, step_{std::chrono::milliseconds(10)};
	result result_;
};

// Established subflows of an MPTCP socket beyond the first; those that are being opened do not count. Does not look closely
// where there cannot be `wanted` of them. Nothing: the connection fell back, or is gone.
[[nodiscard]] std::optional<unsigned> established_subflows(int fd, unsigned wanted) noexcept;

} // namespace pm::replay
