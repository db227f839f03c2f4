// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a stream can be replayed through. The runner decides when an event is due and offers it; a backend carries it to
// where the policy runs, and afterwards says what became of everything.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/manager.hpp"
#include "replay/decisions.hpp"
#include "replay/histogram.hpp"
#include "replay/stream.hpp"

namespace pm::replay {

struct backend_options {
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::uint32_t buffer_bytes = 8u << 20; // of the socket of `netlink`
	std::size_t most_connections = 65536;
};

// An event that is due now.
struct due_event {
	pm_event event;
	std::array<std::byte, netlink::max_message> message;
	std::size_t length = 0; // of the message
	std::uint64_t due_ns = 0; // on now_ns()'s clock
	bool tail = false;
};

// What became of everything that was offered. emitted = delivered + sum of lost, or the run is an error.
struct backend_report {
	std::uint64_t delivered = 0;
	std::uint64_t tail_delivered = 0;
	std::map<std::string, std::uint64_t> lost; // stage: socket, unread, refused, table, overrun (before a takeover)
	histogram latency; // of the load, from due to decided; mptcpd and mptcpd-stock: to read
	std::uint64_t cpu_ns = 0; // of the consumer, over the load
	std::optional<decision_log> decisions;
	std::uint64_t uncompared_decisions = 0; // without a log: how many commands were made
	std::optional<tally> counted; // by our engine, where it ran
};

class backend {
public:
	virtual ~backend() = default;

	// In the network namespace of the run, on the thread that calls everything else too.
	[[nodiscard]] virtual expected<void> start() = 0;
	[[nodiscard]] virtual expected<void> change_local(const pm_event &event) = 0;
	[[nodiscard]] virtual expected<void> offer(std::span<due_event> events) = 0; // sets due_ns to now where it is 0
	// Between events, as long as there is time and it yields true: what it waits for would otherwise be seen late.
	virtual bool look_around() { return false; }
	[[nodiscard]] virtual expected<void>
	settle() = 0; // until all that was offered has been taken, or nothing moves
	virtual void end_load() = 0; // what comes now is the tail, or nothing
	[[nodiscard]] virtual expected<backend_report> finish() = 0;
};

struct backend_info {
	std::string_view name;
	std::string_view help;
	std::unique_ptr<backend> (*make)(const backend_options &);
	bool called = false; // by who sends, who is late while it decides: then that is no fault of the sender
};
[[nodiscard]] std::span<const backend_info> backends() noexcept;
[[nodiscard]] expected<const backend_info *> find_backend(std::string_view name); // the error names those that exist

std::unique_ptr<backend> make_native_backend(const backend_options &options);
std::unique_ptr<backend> make_bpf_backend(const backend_options &options);
std::unique_ptr<backend> make_netlink_backend(const backend_options &options);
std::unique_ptr<backend> make_mptcpd_stock_backend(const backend_options &options);
std::unique_ptr<backend> make_mptcpd_backend(const backend_options &options);

} // namespace pm::replay
