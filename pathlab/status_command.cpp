// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab status: what the path manager of a network namespace says of itself.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/status_socket.hpp"
#include "pm-netlink/tenure.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string name, run_folder = netlink::default_run_folder;
	bool openmetrics = false;
};

expected<void> run(const options &asked, context &all)
{
	const auto ask = [&] { return netlink::ask_status(asked.run_folder); };
	const auto where = asked.name.empty() ? netns::current() : netns::open(asked.name);
	if (!where)
		return tl::unexpected(where.error());
	// Entering a namespace takes a privilege that asking in this one does not.
	const auto status = asked.name.empty() ? ask() : in_namespace(*where, ask);
	if (!status)
		return tl::unexpected(status.error());
	try {
		if (all.json)
			fmt::print("{}\n", status->dump(2));
		else
			fmt::print("{}",
				   asked.openmetrics ? netlink::to_openmetrics(*status) : netlink::to_text(*status));
	} catch (const nlohmann::json::exception &) {
		return fail("the path manager's answer lacks something: does it come from another version?");
	}
	return {};
}

} // namespace

void add_status(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "status", "Show what the path manager of a network namespace does",
		[](CLI::App &command, options &o) {
			command.add_option("-n,--netns", o.name, "Name of the network namespace (default: this one)")
				->check([](const std::string &name) {
					return std::string{name.empty() ? "a name is needed" : ""};
				});
			command.add_flag("--openmetrics", o.openmetrics, "In the format of OpenMetrics (Prometheus)");
			command.add_option("--run-dir", o.run_folder, "Where its socket is (default: /run/pathlab)");
		},
		&run);
}

} // namespace pm::pathlab
