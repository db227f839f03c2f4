// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is measured. Each topic fills the job's figures, and fails only if something could not be run at all.
#pragma once

#include <cstdint>
#include <string>

#include "bench/figures.hpp"
#include "pm-netlink/error.hpp"

namespace pm::bench {

// An event decided: natively (the lookup in the table of connections included) and in BPF.
[[nodiscard]] expected<void> measure_engine(job &work);

// The reader against a bare recvmmsg loop, at full sending rate.
[[nodiscard]] expected<void> measure_reader(job &work);

// Commands to the kernel, a batch at a time against one by one, on real connections.
[[nodiscard]] expected<void> measure_commands(job &work);

// Real connections with real path managers: how many, how soon the second path, what open ones cost.
[[nodiscard]] expected<void> measure_live(job &work);

// How fast a trace can be sent, and how late events are sent at a given rate.
[[nodiscard]] expected<void> measure_replayer(job &work);

// Bytes for each connection, and the resident memory of a long replay.
[[nodiscard]] expected<void> measure_memory(job &work);

// What measure_memory() runs this program again for: the first `events` of a trace through `netlink` at full rate.
// Prints {emitted, lost, peak_kib} and ends with the process's exit code.
[[nodiscard]] int replay_for_memory(const std::string &trace, std::uint64_t events);

} // namespace pm::bench
