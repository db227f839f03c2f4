// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy in the kernel that manages the connections of a network namespace: attaching it, putting back what was there
// before, listing what is attached. What is attached outlives the process; nothing runs for it in userspace.
//
// The order of the steps is what makes it whole or nothing: the namespace is switched last when a policy is attached, first
// when it is taken off.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pm-bpf/attached.h"
#include "pm-bpf/pins.hpp"
#include "pm-bpf/programs.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::bpf {

inline constexpr const char *path_manager_sysctl = "net.mptcp.path_manager";

// What has just been done, for tests that end the process amid it.
enum class step {
	loaded, // attaching
	pinned,
	attached,
	linked,
	named,
	switched,
	marked, // detaching
	restored,
	set_aside, // what is detached or replaced
	cleared,
	done,
};

struct attach_request {
	attached_policy what; // without a name: named as the policy
	const netns *where = nullptr;
	std::string netns_name; // for people; empty: the namespace of this process
	bool replace = false;
	std::string folder = pin_folder::usual;
	std::function<void(step)> reached; // may be empty
};

struct attach_result {
	std::string name, before; // the path manager that was there
	bool replaced = false;
	std::uint32_t verified_instructions = 0;
};

// Fails with nothing changed.
[[nodiscard]] expected<attach_result> attach(attach_request request);

// A name as the kernel and the file system take it: up to 15 letters, digits and underscores.
[[nodiscard]] expected<void> check_name(const std::string &name);
[[nodiscard]] std::string default_name(std::string_view policy);

// One attachment, as far as it can be read.
struct attached {
	pm_attachment what{};
	enum class condition {
		active, // new connections of its namespace get it
		passed_over, // another path manager is set there by now
		netns_gone,
	} state = condition::active;
	std::string now; // the path manager that is set there
	pm_counters counted{};
};

// All of them, after those that were left unfinished have been swept away. Empty where there is no folder.
[[nodiscard]] expected<std::vector<attached>> list(const std::string &folder = pin_folder::usual);

struct detach_result {
	attached was;
	bool restored = false; // otherwise there was nothing to restore: see was.state
	std::string restored_to;
};

// The attachment of this name, or that of this namespace.
[[nodiscard]] expected<detach_result> detach(const std::string &name, const std::string &folder = pin_folder::usual,
					     const std::function<void(step)> &reached = {});
[[nodiscard]] expected<detach_result> detach(const netns &where, const std::string &netns_name,
					     const std::string &folder = pin_folder::usual);

} // namespace pm::bpf
