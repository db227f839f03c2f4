// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A load generator: real, short MPTCP connections through a laboratory, opened when they are due (open loop), and an
// account of each that owes nothing to netlink. Measures no throughput and no latency.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "replay/histogram.hpp"
#include "replay/lab.hpp"
#include "replay/load_schedule.hpp"
#include "replay/path_watch.hpp"

namespace pm::replay {

// Where the server listens, on every address of its namespace.
inline constexpr std::uint16_t load_port = 1000;
static_assert(load_port < first_client_port);

struct load_options {
	std::uint64_t connections = 1000; // 1 to 10,000,000
	double rate = 2000; // connections per second, above 0; a machine that is too slow falls behind
	std::vector<load_step> steps{}; // instead of both, if there are any
	bool ipv4 = true, ipv6 = true; // alternating when both, beginning with IPv4
	unsigned hold_ms = 30; // how long each stays open, so that its subflows and ADD_ADDR have their time
	unsigned patience_ms = 5000; // a connection that has had no answer by then has failed
	path_watch *watch = nullptr; // told of each connection; not null: it may also end their hold
};

// One connection that was made: what the sockets of its two ends know about it.
struct made_connection {
	pm_addr local{}, remote{}; // of the initial subflow, on path 0
	std::uint16_t local_port = 0, remote_port = 0;
	std::uint32_t token = 0; // the client's (MPTCP_INFO)
	std::uint32_t server_token = 0;
	std::uint8_t subflows = 0; // beyond the initial one, when it was closed (client's mptcpi_subflows)
	std::uint8_t announced = 0; // addresses that the server announced (server's mptcpi_add_addr_signal)
	std::uint8_t accepted = 0; // of these, used for a subflow (client's mptcpi_add_addr_accepted)
};

struct load_report {
	std::uint64_t asked = 0, made = 0, failed = 0; // asked = made + failed
	std::string first_failure; // why the first one failed
	double seconds = 0; // from the first one's start to the last one's end
	double opening_seconds = 0; // to the last one's start
	double scheduled_seconds = 0; // of this, as it should have been
	histogram sent_late; // of each start, after it was due
	std::uint64_t left_open = 0; // MPTCP sockets that the kernel had not yet done with at the end
	std::vector<made_connection> connections; // in the order in which they were opened; those that failed left out
};

// Opens the connections from path 0 of lab.client to path 0 of lab.server, sends and echoes a few bytes, holds, closes.
// A connection that fell back to TCP has failed.
//
// Returns when both sides have closed every socket and the kernel is done with them, or has had `patience_ms` for it.
// By then their events are out: CLOSED comes with close() itself, but an ANNOUNCED of a connection that closed at once
// may come after its CLOSED. The whole takes no longer than the connections at their rate, or at 100/s if that is slower,
// and twice the patience beyond the hold.
//
// Every open connection takes two of the process's file descriptors; raises the soft limit (RLIMIT_NOFILE) as far as
// allowed and leaves it there.
[[nodiscard]] expected<load_report> run_load(const lab &lab, const load_options &options);

} // namespace pm::replay
