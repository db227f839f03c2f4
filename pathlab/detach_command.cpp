// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab detach: takes an attached policy off, and puts back the path manager that was there before.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-bpf/attachment.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string name, netns_name;
};

// What became of the namespace's path manager.
std::string outcome(const bpf::detach_result &done)
{
	const auto &was = done.was;
	if (done.restored)
		return fmt::format("'{}' is the path manager of its network namespace again", done.restored_to);
	if (was.state == bpf::attached::condition::netns_gone)
		return "its network namespace is gone, so nothing was to be put back";
	return fmt::format("the path manager of its network namespace was '{}' by now, and is left as it is", was.now);
}

void print(const bpf::detach_result &done, context &all)
{
	const pm_counters &counted = done.was.counted;
	const pm_u64 begun = counted.notified[PM_NOTIFIED_created], ended = counted.notified[PM_NOTIFIED_closed];
	const pm_u64 open = begun > ended ? begun - ended : 0;
	if (all.json) {
		nlohmann::json json{{"name", done.was.what.name},
				    {"policy", done.was.what.policy},
				    {"restored", done.restored},
				    {"connections_that_keep_it", open}};
		json["path_manager"] = done.restored          ? nlohmann::json(done.restored_to)
				       : done.was.now.empty() ? nlohmann::json(nullptr)
							      : nlohmann::json(done.was.now);
		fmt::print("{}\n", json.dump(2));
		return;
	}
	fmt::print("{}: detached; {}{}\n", done.was.what.name, outcome(done),
		   open ? fmt::format("; {} connection{} keep{} it until closed", open, open == 1 ? "" : "s",
				      open == 1 ? "s" : "")
			: "");
}

expected<void> run(const options &asked, context &all)
{
	if (asked.name.empty() == asked.netns_name.empty())
		return fail_usage(
			"detach takes either the NAME of an attachment or -n NETNS (`pathlab status` lists them)");
	const auto take_off = [&]() -> expected<bpf::detach_result> {
		if (!asked.name.empty())
			return bpf::detach(asked.name);
		const auto where = netns::open(asked.netns_name);
		if (!where)
			return fail(where.error().text +
				    "; if it is gone, detach by the attachment's name (`pathlab status` lists them)");
		return bpf::detach(*where, asked.netns_name);
	};
	return take_off().map([&](const bpf::detach_result &done) { print(done, all); });
}

} // namespace

void add_detach(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "detach", "Take an attached policy off",
		[](CLI::App &command, options &o) {
			command.add_option("name", o.name, "The attachment's name");
			command.add_option("-n,--netns", o.netns_name, "Name of its network namespace");
		},
		&run);
}

} // namespace pm::pathlab
