// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy and connections that it manages, told of events one by one.
#pragma once

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/manager.hpp"
#include "tests/support/events.hpp"

namespace pm::test {

inline constexpr u32 token = 7;

// A namespace whose connections a policy manages, and every command that it has issued.
struct policy_host {
	explicit policy_host(std::string_view policy, std::vector<std::string> settings = {})
		: managed(**find_policy(policy), make_settings(**find_policy(policy), settings).value())
	{
	}

	std::vector<pm_command> operator()(const pm_event &event)
	{
		std::vector<pm_command> commands;
		managed.handle(event, [&](const pm_result &result) {
			commands.insert(commands.end(), result.command, result.command + result.commands);
		});
		return commands;
	}

	// An established connection of a host with `locals` addresses 10.0.1.1, 10.0.2.1, ...
	std::vector<pm_command> connect(unsigned locals, u8 flags = 0)
	{
		for (unsigned l = 1; l <= locals; ++l)
			(*this)(local_added(local4(static_cast<u8>(l)), l));
		(*this)(created(token, local4(1), remote4(1), flags));
		return (*this)(established(token, local4(1), remote4(1), flags));
	}

	manager managed;
};

inline std::vector<pm_command> of_type(const std::vector<pm_command> &commands, pm_command_type type)
{
	std::vector<pm_command> some;
	std::copy_if(commands.begin(), commands.end(), std::back_inserter(some),
		     [&](const pm_command &c) { return c.type == type; });
	return some;
}

inline std::size_t opened(const std::vector<pm_command> &commands) { return of_type(commands, PM_OPEN_SUBFLOW).size(); }
inline std::size_t closed(const std::vector<pm_command> &commands)
{
	return of_type(commands, PM_CLOSE_SUBFLOW).size();
}

} // namespace pm::test
