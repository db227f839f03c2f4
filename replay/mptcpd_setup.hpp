// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Starting mptcpd in the calling thread's network namespace: as it comes, or with one of our plugins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "pm-core/types.h"
#include "pm-netlink/policies.hpp"
#include "replay/daemon.hpp"

namespace pm::replay {

struct plugin_options {
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::uint32_t buffer_bytes = 8u << 20;
	std::size_t most_connections = 65536;
	bool accept_replay = false;
};

// The settings of our plugin in a folder of their own, which is also where it says what it does.
class plugin_settings {
public:
	[[nodiscard]] static expected<plugin_settings> write(const plugin_options &options);
	[[nodiscard]] const std::string &folder() const noexcept { return folder_.path(); }

private:
	explicit plugin_settings(daemon_folder folder) : folder_(std::move(folder)) {}
	daemon_folder folder_;
};

// One sentence each if it, or our plugin for it, is not there.
[[nodiscard]] expected<void> check_mptcpd();
[[nodiscard]] expected<void> check_plugin(const policy_info &policy);

// Sets the namespace's path manager to the userspace one. `settings` null: with its own plugin sspi.
[[nodiscard]] expected<child> start_mptcpd(const policy_info *policy, const plugin_settings *settings,
					   std::optional<unsigned> cpu = std::nullopt);

} // namespace pm::replay
