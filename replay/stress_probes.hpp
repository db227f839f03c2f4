// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is looked at from outside during a stress run: events on both sides of the path manager's sockets, processor time of
// the machine, clocks, subflows that the kernel counts. And what gets in the way on purpose: busy threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "pm-bpf/witness.hpp"
#include "pm-netlink/mib.hpp"
#include "replay/child.hpp"
#include "replay/stress_account.hpp"
#include "replay/stress_scenario.hpp"

namespace pm::replay {

// Counts from begin() on, in the namespace where it was opened. Where BPF programs cannot do that, what is sent and read is
// not seen, only the path manager's sockets are.
class event_observer {
public:
	[[nodiscard]] static expected<event_observer>
	open(const child *process); // null: it is only counted what is sent
	[[nodiscard]] expected<void> begin();
	// Waits until nothing more is sent and the process has read what it will read, up to five seconds.
	void settle();
	// Stops the process, for good. What was sent is `implied` where it was not seen.
	[[nodiscard]] expected<events_seen> end(std::uint64_t implied);

private:
	event_observer(const child *process, std::uint32_t group) : process_(process), group_(group) {}
	struct watched_socket {
		descriptor copy;
		std::uint64_t cookie = 0;
		std::uint32_t drops_before = 0;
	};
	[[nodiscard]] expected<void> look_for_socket();
	[[nodiscard]] std::uint64_t count_unread(int socket) const;
	// What changes while there is something to do.
	[[nodiscard]] std::pair<std::uint64_t, std::uint64_t> movement() const;

	std::optional<bpf::event_witness> witness_;
	const child *process_;
	std::uint32_t group_;
	std::uint16_t family_ = 0;
	std::vector<watched_socket> sockets_;
	std::uint64_t sent_before_ = 0, read_before_ = 0, not_looked_at_before_ = 0;
};

// What the kernel counts, by the name that it has there; opened in the namespace that is meant.
class kernel_counter {
public:
	explicit kernel_counter(const char *name) : counter_(name), before_(counter_.read().value_or(0)) {}
	[[nodiscard]] std::uint64_t count() const { return counter_.read().value_or(before_) - before_; } // since then

private:
	netlink::mib counter_;
	std::uint64_t before_ = 0;
};

// Subflows beyond the first that came up: at the client by the SYN/ACK, at the server by the last ACK.
inline constexpr const char *joins_at_client = "MPJoinSynAckRx", *joins_at_server = "MPJoinAckRx";
// That the peer has said.
inline constexpr const char *addresses_announced = "AddAddr", *addresses_withdrawn = "RmAddr";

// How long nothing may move until it is over: behind a load, for every path manager and also where nobody is looked at, so
// that what is counted over the time of a run is over the same time.
inline constexpr unsigned quiet_ms = 60;

// Processor time that was not idle, of all processors, whoever used it; in steps as large as the second says, at the most.
[[nodiscard]] std::uint64_t machine_cpu_ns();
[[nodiscard]] std::uint64_t machine_cpu_step_ns();

// How far the wall clock has moved against the monotonic one since this object was made, or the monotonic one has stood still.
class clock_check {
public:
	clock_check() noexcept;
	[[nodiscard]] double jump_ms() const noexcept;

private:
	std::int64_t wall_, boot_;
};

class busy_threads {
public:
	busy_threads(unsigned number, priority theirs);
	busy_threads(const busy_threads &) = delete;
	busy_threads &operator=(const busy_threads &) = delete;
	~busy_threads();
	std::uint64_t stop(); // yields the processor time that they have used

private:
	std::atomic<bool> stop_{false};
	std::atomic<std::uint64_t> used_{0};
	std::vector<std::thread> threads_;
};

} // namespace pm::replay
