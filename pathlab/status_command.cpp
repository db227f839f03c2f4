// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab status: what the path managers of pathlab say of themselves: pm-netlinkd where it serves the namespace, and the
// policies that are attached in the kernel.
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "pathlab/commands.hpp"
#include "pm-bpf/attachment_status.hpp"
#include "pm-bpf/netns_handle.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/status_socket.hpp"
#include "pm-netlink/tenure.hpp"

namespace pm::pathlab {

namespace {

using nlohmann::json;

struct options {
	std::string name, run_folder = netlink::default_run_folder;
	bool openmetrics = false;
};

// With a namespace, those of it; without, all. None where they may not be seen: that is not what was asked first.
expected<std::vector<bpf::attached>> attachments(const options &asked, const netns &where)
{
	if (::geteuid() != 0 && ::access(bpf::pin_folder::usual, R_OK | X_OK) != 0)
		return std::vector<bpf::attached>{};
	auto all = bpf::list();
	if (!all || asked.name.empty())
		return all;
	pm_attachment wanted{};
	if (auto written = bpf::write_down(where, wanted); !written)
		return std::vector<bpf::attached>{}; // a kernel that is too old to have attachments
	std::erase_if(*all, [&](const bpf::attached &one) { return !bpf::is_netns_of(one.what, wanted); });
	return all;
}

// `daemon` has what pm-netlinkd says, or is null.
void print(json daemon, const json &attached, bool openmetrics, bool as_json)
{
	if (as_json) {
		json both = daemon.is_null() ? json::object() : std::move(daemon);
		both["attachments"] = attached;
		fmt::print("{}\n", both.dump(2, ' ', false, json::error_handler_t::replace));
	} else if (openmetrics) {
		std::string text = daemon.is_null() ? "# EOF\n" : netlink::to_openmetrics(daemon);
		if (!attached.empty())
			text.insert(text.rfind("# EOF"), bpf::to_openmetrics(attached));
		fmt::print("{}", text);
	} else {
		if (!daemon.is_null())
			fmt::print("{}{}", netlink::to_text(daemon), attached.empty() ? "" : "\n");
		fmt::print("{}", bpf::to_text(attached));
	}
}

expected<void> run(const options &asked, context &all)
{
	const auto ask = [&] { return netlink::ask_status(asked.run_folder); };
	const auto where = asked.name.empty() ? netns::current() : netns::open(asked.name);
	if (!where)
		return tl::unexpected(where.error());
	// Entering a namespace takes a privilege that asking in this one does not.
	const auto status = asked.name.empty() ? ask() : in_namespace(*where, ask);
	const auto attached = attachments(asked, *where);
	if (!attached)
		return tl::unexpected(attached.error());
	if (!status && attached->empty())
		return tl::unexpected(status.error());
	try {
		print(status ? *status : json(nullptr), bpf::to_json(*attached), asked.openmetrics, all.json);
	} catch (const nlohmann::json::exception &) {
		return fail("the path manager's answer lacks something: does it come from another version?");
	}
	return {};
}

} // namespace

void add_status(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "status", "Show what the path managers of pathlab do",
		[](CLI::App &command, options &o) {
			command.add_option(
				       "-n,--netns", o.name,
				       "Name of the network namespace (default: this one, and all attached policies)")
				->check([](const std::string &name) {
					return std::string{name.empty() ? "a name is needed" : ""};
				});
			command.add_flag("--openmetrics", o.openmetrics, "In the format of OpenMetrics (Prometheus)");
			command.add_option("--run-dir", o.run_folder,
					   "Where pm-netlinkd's socket is (default: /run/pathlab)");
		},
		&run);
}

} // namespace pm::pathlab
