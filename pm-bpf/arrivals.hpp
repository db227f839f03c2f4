// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// When the packets arrived that tell how long a path manager took to open a second path: see arrivals.bpf.c.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pm-netlink/error.hpp"

struct arrivals_bpf;
struct bpf_link;
struct bpf_program;

namespace pm::bpf {

class arrivals {
public:
	// What is noted, and room for how many joins.
	struct sample {
		std::uint16_t server_port = 0;
		std::uint32_t port_every = 1, token_every = 1; // one in so many; powers of two
		std::uint32_t joins = 1;
	};
	// Needs CAP_BPF and CAP_NET_ADMIN, or root.
	[[nodiscard]] static expected<arrivals> load(const sample &what);

	// From now on, at the entrance of an interface of the calling thread's network namespace, as long as this lives. Older
	// kernels also want detach(), there, or the interface gone.
	[[nodiscard]] expected<void> attach_client(const std::string &interface);
	[[nodiscard]] expected<void> attach_server(const std::string &interface);
	static void detach(const std::string &interface) noexcept;

	// CLOCK_MONOTONIC, nanoseconds; of the last connection that had the port. Nothing: it was not looked at, or did not come.
	[[nodiscard]] std::optional<std::uint64_t> confirmed(std::uint16_t client_port, bool ipv6) const noexcept;
	[[nodiscard]] std::optional<std::uint64_t> joined(std::uint32_t server_token) const noexcept;
	[[nodiscard]] std::uint64_t not_noted() const noexcept; // for want of room

private:
	struct closer {
		void operator()(arrivals_bpf *skeleton) const noexcept;
	};
	struct unlinker {
		void operator()(bpf_link *link) const noexcept;
	};
	using skeleton = std::unique_ptr<arrivals_bpf, closer>;
	explicit arrivals(skeleton programs) noexcept : skeleton_(std::move(programs)) {}

	[[nodiscard]] expected<void> attach(const std::string &interface, const bpf_program *program);

	skeleton skeleton_;
	std::vector<std::unique_ptr<bpf_link, unlinker>> links_;
};

} // namespace pm::bpf
