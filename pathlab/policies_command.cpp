// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab policies: which there are, and their settings.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-netlink/policies.hpp"

namespace pm::pathlab {

namespace {

struct options {};

nlohmann::json describe(const policy_info &policy)
{
	nlohmann::json settings = nlohmann::json::array();
	for (const setting &each : policy.settings)
		settings.push_back({{"name", each.name},
				    {"help", each.help},
				    {"least", each.least},
				    {"most", each.most},
				    {"preset", each.preset},
				    {"interface", each.is_interface}});
	return {{"name", policy.name},
		{"help", policy.help},
		{"settings", settings},
		{"only_attached", policy.handle == nullptr}};
}

expected<void> run(const options &, context &all)
{
	if (all.json) {
		nlohmann::json list = nlohmann::json::array();
		for (const policy_info &policy : all_policies())
			list.push_back(describe(policy));
		list.push_back(describe(guard_policy()));
		fmt::print("{}\n", nlohmann::json{{"policies", list}}.dump(2));
		return {};
	}
	for (const policy_info &policy : all_policies()) {
		fmt::print("{}: {}\n", policy.name, policy.help);
		for (const setting &each : policy.settings)
			if (each.is_interface)
				fmt::print("    {}=NAME  (none)  {}\n", each.name, each.help);
			else
				fmt::print("    {}={}  ({} to {})  {}\n", each.name, each.preset, each.least, each.most,
					   each.help);
	}
	fmt::print("{}: {} (only by `pathlab attach`)\n", guard_policy().name, guard_policy().help);
	return {};
}

} // namespace

void add_policies(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "policies", "List the policies and their settings", [](CLI::App &, options &) {}, &run);
}

} // namespace pm::pathlab
