// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The BPF object of the attached policies in this process: opened, cut down to one policy, filled in, loaded. Nothing of it
// outlives the process unless it is pinned.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pm-bpf/attached.h"
#include "pm-netlink/address_source.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/policies.hpp"

namespace pm::bpf {

// What an attached policy is made of.
struct attached_policy {
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::string name; // in the kernel
	std::vector<u32> interfaces; // that local addresses are confined to
	std::vector<netlink::address_filter::prefix> prefixes; //   ... and prefixes
	std::vector<netlink::address_filter::prefix> allowed; // that the guard confines peers to
	u32 most_subflows = 0; // of a connection, for the guard; 0: any number
};

class programs {
public:
	// Fails with the verifier's last words where it refuses them.
	[[nodiscard]] static expected<programs> load(const attached_policy &what);
	programs(programs &&) noexcept;
	programs &operator=(programs &&) noexcept;
	~programs();

	// What is to be pinned, by name.
	struct pinned {
		const char *name;
		int fd;
	};
	[[nodiscard]] std::vector<pinned> maps() const;
	[[nodiscard]] int meta() const;
	[[nodiscard]] u32 table_id() const noexcept;
	[[nodiscard]] u32 verified_instructions() const noexcept; // of all programs
	[[nodiscard]] pm_counters counted() const; // so far
	// What the kernel keeps for them, in bytes: of programs and maps, which stays the same (it is asked of each); and of the
	// connections that are open now, by the counters.
	[[nodiscard]] std::uint64_t memory_bytes() const;
	[[nodiscard]] std::uint64_t remembered_bytes() const;

	// Registers the table of callbacks with the kernel, for as long as the link is open or pinned.
	[[nodiscard]] expected<descriptor> attach() const;
	// Puts this table in the place of the one that the link has. New connections get it.
	[[nodiscard]] expected<void> replace(const descriptor &link) const;

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit programs(std::unique_ptr<impl> made);
};

// The counters in that map, added up over all processors; zeros if it has none.
[[nodiscard]] pm_counters read_counters(int map);

} // namespace pm::bpf
