// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What exists, as the kernel lists it: every open MPTCP connection of a network namespace and its subflows, read through
// inet_diag while other things go on. What peers have announced cannot be read back.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::netlink {

// One open connection: established, or the peer has closed its side (TCP_ESTABLISHED, TCP_CLOSE_WAIT). One that this
// side has closed or shut down is not listed: it takes no more subflows.
struct snapshot_connection {
	std::uint32_t token = 0;
	std::uint16_t local_port = 0, remote_port = 0; // of the initial subflow, host order
	pm_addr local{}, remote{};
};

struct snapshot_subflow {
	std::uint32_t token = 0; // of the local end: names the connection
	std::uint16_t local_port = 0, remote_port = 0;
	pm_addr local{}, remote{};
	std::uint32_t ifindex = 0; // that the socket is bound to; 0: none
	std::uint8_t local_id = 0, remote_id = 0;
	bool initial = false; // opened with MP_CAPABLE
	bool opened_here = false; // by this side: of an initial subflow, that we are the client
	bool opening = false; // SYN sent, no answer yet
	bool backup = false; // the peer asked for it to be a backup
	bool asked_backup = false; // we did
};

// Both sorted by token. A subflow may belong to no listed connection (one that is being closed).
struct snapshot {
	std::vector<snapshot_connection> connections;
	std::vector<snapshot_subflow> subflows;
};

class snapshot_reader {
public:
	// In the calling thread's network namespace. Needs CAP_NET_ADMIN there: without it the kernel leaves tokens and ids
	// out.
	[[nodiscard]] static expected<snapshot_reader> open();

	[[nodiscard]] int fd() const noexcept; // to poll for reading while a snapshot is being taken
	// Asks for a new snapshot. Whatever was read of an earlier one is dropped.
	[[nodiscard]] expected<void> begin();
	// Reads a bounded part of what has arrived; never blocks. True: the snapshot is complete, take() it.
	[[nodiscard]] expected<bool> proceed();
	[[nodiscard]] snapshot take();
};

} // namespace pm::netlink
