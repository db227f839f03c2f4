// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Events that can go on for ever and always find the connection in the state in which a path manager mostly sees it:
// all its subflows are up, now and then one dies and comes back, now and then an address goes and comes back.
//
// Each connection goes through the same round again and again. Let there be N subflows on one remote address:
//
//   (N - 1) x  SUB_CLOSED (one command: open it again), SUB_ESTABLISHED    subflows that die, each on its own pair
//              REMOVED (N commands: close what stood there), N x SUB_CLOSED
//              ANNOUNCED (N commands: open them again), N x SUB_ESTABLISHED
//
// 4 N events, 3 N - 1 commands. A pair that fails PM_MAX_FAILURES times would be left alone, and the stream would run
// dry; an address that comes anew is forgiven its failures, so it never does. For fullmesh the remote address is each
// of those announced in turn, N being the number of local addresses. For ndiffports, whose subflows are all on the
// initial pair, it is the initial one, and N its preset of 2, so that a pair fails once in a round there, too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pm-core/types.h"

namespace pm::bench {

class steady_stream {
public:
	struct shape {
		unsigned locals = 4, remotes = 4; // 2, 4 or 8: a round must divide PM_BATCH
		unsigned connections = 1;
		bool mesh = true; // for fullmesh; otherwise for ndiffports
	};
	explicit steady_stream(const shape &wanted);

	// The namespace's addresses, and what brings a connection (counted from 0) up with all its subflows.
	[[nodiscard]] std::vector<pm_event> addresses() const;
	[[nodiscard]] std::vector<pm_event> opening(unsigned connection) const;

	// Fills `out` with the next events; yields how many commands they cause together. Connections take turns at
	// each event, in an order that has nothing to do with the one in which they were opened.
	std::uint64_t next(std::span<pm_event> out) noexcept;

	// Events after which every connection has gone through one round.
	[[nodiscard]] std::uint64_t sweep() const noexcept { return std::uint64_t{round_} * shape_.connections; }

private:
	struct step {
		pm_event event; // without a token
		std::uint8_t commands;
	};
	struct subflow {
		unsigned local, remote;
		std::uint16_t local_port;
	};
	[[nodiscard]] std::vector<subflow> subflows_to(unsigned remote) const;
	void add_round(unsigned remote);

	shape shape_;
	unsigned round_ = 0; // events
	std::vector<step> steps_; // of the rounds of each remote address in turn
	std::uint64_t stride_ = 1;
	std::uint64_t position_ = 0;
};

} // namespace pm::bench
