// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The policies for programs that choose one by name at run time, and their settings as text.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pm-core/policy.hpp"
#include "pm-netlink/error.hpp"

namespace pm {

struct policy_info {
	std::string_view name;
	std::string_view help;
	std::span<const setting> settings;
	// pm::handle of this policy: see engine.hpp. Null: it plans nothing, and lives in the kernel alone.
	void (*handle)(const pm_namespace &, pm_connection &, const pm_event &, const pm_settings &, pm_result &);
};

[[nodiscard]] std::span<const policy_info> all_policies() noexcept; // that run anywhere
[[nodiscard]] const policy_info &guard_policy() noexcept; // that only `pathlab attach` takes: see pm-bpf/guard.h
[[nodiscard]] expected<const policy_info *> find_policy(std::string_view name); // the error names those that exist

// The presets, changed by assignments NAME=VALUE. Fails on an unknown name or a value out of bounds, naming the bounds.
[[nodiscard]] expected<pm_settings> make_settings(const policy_info &policy,
						  std::span<const std::string> assignments = {});

// A policy with its settings, as a command line names them.
struct chosen_policy {
	const policy_info *policy;
	pm_settings settings;
};
[[nodiscard]] expected<chosen_policy> choose_policy(std::string_view name, std::span<const std::string> assignments);

} // namespace pm
