// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Plausible results without measuring: fixed numbers, the same for the same options, with losses that a test chooses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace pm::test {

struct made_options {
	std::vector<std::string> backends{"none", "kernel", "mptcpd-stock", "mptcpd", "netlink", "ringbuf"};
	std::vector<std::string> vm_backends{"none", "kernel", "mptcpd-stock", "mptcpd", "netlink", "ringbuf", "bpf"};
	unsigned repetitions = 5;
	std::uint64_t seed = 1;      // of the scatter
	double slower = 1;           // netlink's latency and processor time, times this
	double scatter = 0.03;       // relative standard deviation of times
	bool replay = true, stress = true;
};

[[nodiscard]] nlohmann::json made_results(const made_options &options = {});

// One stress run that adds up: of 4 events for each connection, so many were lost at the socket.
[[nodiscard]] nlohmann::json made_run(const std::string &scenario, const std::string &backend, const std::string &place,
				      double rate, unsigned repetition, std::uint64_t lost_at_socket);

} // namespace pm::test
