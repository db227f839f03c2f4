// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What exists, as the kernel lists it: every open MPTCP connection of a network namespace and its subflows, read through
// inet_diag while other things go on. What peers have announced is not in it: see announced_list.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pm-core/types.h"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::netlink {

// One open connection: established, or the peer has closed its side (TCP_ESTABLISHED, TCP_CLOSE_WAIT). One that this
// side has closed or shut down, or that fell back to TCP, is not listed: it takes no more subflows.
struct snapshot_connection {
	std::uint32_t token = 0;
	std::uint16_t local_port = 0, remote_port = 0; // of the initial subflow, host order
	pm_addr local{}, remote{};
	bool ipv4_socket = false; // of AF_INET: it takes no IPv6 path
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
	bool ipv4_socket = false; // of AF_INET
	bool backup = false; // the peer asked for it to be a backup
	bool asked_backup = false; // we did
	bool fully_established = false; // both ends know that the other one speaks MPTCP (RFC 8684, 3.1)
};

// Both sorted by token. A subflow may belong to no listed connection (one that is being closed).
struct snapshot {
	std::vector<snapshot_connection> connections;
	std::vector<snapshot_subflow> subflows;
};

class snapshot_reader {
public:
	// In the calling thread's network namespace. Needs CAP_NET_ADMIN there: without it the kernel leaves tokens and ids
	// out, and proceed() fails.
	[[nodiscard]] static expected<snapshot_reader> open();

	// To poll for reading while a snapshot is being taken. Always the same one.
	[[nodiscard]] int fd() const noexcept { return nl_socket_get_fd(socket_.get()); }
	// Asks for a new snapshot. Whatever was read of an earlier one is dropped. After a failure it may be tried again.
	[[nodiscard]] expected<void> begin();
	// Reads a bounded part of what has arrived; never blocks. True: the snapshot is complete, take() it.
	[[nodiscard]] expected<bool> proceed();
	// What still comes of a question that was given up: a bounded part of it, unread. Whoever waits for fd() would wake up
	// for it without end.
	void drop_rest() noexcept;
	[[nodiscard]] snapshot take() { return std::exchange(result_, {}); }

private:
	enum class state : std::uint8_t { idle, asking, complete };
	using buffer = std::unique_ptr<std::byte[]>;

	snapshot_reader(nl_socket socket, buffer memory) noexcept
		: socket_(std::move(socket)), buffer_(std::move(memory))
	{
	}
	[[nodiscard]] expected<void> ask_first();
	[[nodiscard]] expected<void> ask();
	[[nodiscard]] expected<void> look_up();
	[[nodiscard]] expected<void> send(bytes message);
	[[nodiscard]] expected<void> start_over(const std::string &why);
	[[nodiscard]] expected<bytes> receive(bool &empty);
	[[nodiscard]] expected<void> take_in(bytes datagram);
	[[nodiscard]] expected<void> answered(int error); // the question that was asked, to its end
	[[nodiscard]] expected<void> looked_up();
	[[nodiscard]] expected<void> add(bytes answer);

	nl_socket socket_;
	buffer buffer_;
	snapshot result_;
	state state_ = state::idle;
	bool busy_ = false; // the kernel still answers an earlier question, and takes no other before it has
	std::uint32_t first_seq_ = 1, seq_ = 0; // of what was asked last
	std::size_t question_ = 0;
	std::vector<std::uint32_t> unsure_; // tokens of subflows without a connection, to be looked up
	std::size_t unanswered_ = 0; // of those that were asked for last
	unsigned restarts_ = 0;
};

} // namespace pm::netlink
