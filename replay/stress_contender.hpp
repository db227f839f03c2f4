// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A path manager under stress: started in the client's namespace before the load, asked afterwards what it did.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/netns.hpp"
#include "pm-netlink/policies.hpp"
#include "replay/child.hpp"
#include "replay/stress_account.hpp"

namespace pm::replay {

struct contender_options {
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::vector<std::string> assignments; // what the settings were made of
	std::uint32_t buffer_bytes = 8u << 20;
	unsigned paths = 2;
	bool ipv4 = true, ipv6 = false;
};

struct commands_told {
	std::uint64_t sent = 0, accepted = 0, refused = 0;
};

// What it says of itself, since it was started.
struct contender_account {
	std::optional<events_told> events; // nothing: it cannot be asked
	std::optional<commands_told> commands;
};

class contender {
public:
	virtual ~contender() = default; // ends it

	// In the client's namespace, on a thread that lives as long as this object. Returns when it serves.
	[[nodiscard]] virtual expected<void> start() = 0;
	[[nodiscard]] virtual expected<contender_account> account() { return contender_account{}; }
	// An address of the client was removed from or put back on its link: for what does not hear of that by itself.
	[[nodiscard]] virtual expected<void> address_changed(unsigned path, bool there);
	[[nodiscard]] virtual const child *process() const { return nullptr; } // null: there is none
	[[nodiscard]] virtual std::optional<std::uint64_t> cpu_ns() const;
	[[nodiscard]] virtual std::optional<std::uint64_t> memory_kib() const; // now
};

struct contender_info {
	std::string_view name, help;
	bool opens_paths; // as the policy plans
	bool hears_events; // over netlink, by a ring buffer or by being called, each of which can be counted
	std::unique_ptr<contender> (*make)(const contender_options &);
	expected<void> (*check)(const contender_options &); // why this kernel or machine cannot run it
};
[[nodiscard]] std::span<const contender_info> contenders() noexcept;
[[nodiscard]] expected<const contender_info *>
find_contender(std::string_view name); // the error names those that exist

// What check_ says of one, and what makes it: for stress_contenders.cpp.
expected<void> check_ringbuf(const contender_options &);
expected<void> check_bpf(const contender_options &);
std::unique_ptr<contender> make_netlink_contender(const contender_options &);
std::unique_ptr<contender> make_ringbuf_contender(const contender_options &);
std::unique_ptr<contender> make_mptcpd_contender(const contender_options &);
std::unique_ptr<contender> make_mptcpd_stock_contender(const contender_options &);
std::unique_ptr<contender> make_bpf_contender(const contender_options &);

} // namespace pm::replay
