// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab record: the path-manager events of a network namespace into a trace.
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/interrupt.hpp"
#include "replay/record.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string name, file;
	std::optional<double> seconds;
	std::uint32_t buffer = 64u << 20;
};

expected<void> run(const options &asked, context &all)
{
	if (!(asked.seconds.value_or(1) > 0)) // not a number is not above 0 either
		return fail_usage(
			fmt::format("cannot record for {} seconds: -d takes a number above 0", *asked.seconds));
	all.ends_by_interrupt = true;
	const auto where = asked.name.empty() ? netns::current() : netns::open(asked.name);
	if (!where)
		return tl::unexpected(where.error());
	auto recorder = in_namespace(*where, [&] { return replay::recorder::start(asked.file, asked.buffer); });
	if (!recorder)
		return tl::unexpected(recorder.error());
	if (auto ran = recorder->run(replay::interrupt_fd(), asked.seconds.value_or(0)); !ran)
		return ran;
	const auto counters = recorder->finish();
	if (!counters)
		return tl::unexpected(counters.error());
	if (all.json)
		fmt::print("{}\n", nlohmann::json{{"trace", asked.file},
						  {"recorded", counters->recorded},
						  {"addresses", counters->addresses},
						  {"lost", counters->lost},
						  {"refused", counters->refused}}
					   .dump(2));
	else
		fmt::print("{}: {} events and {} local addresses recorded, {} lost, {} refused\n", asked.file,
			   counters->recorded, counters->addresses, counters->lost, counters->refused);
	return {};
}

} // namespace

void add_record(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "record", "Record the path-manager events of a network namespace",
		[](CLI::App &command, options &o) {
			command.add_option("-n,--netns", o.name, "Name of the network namespace (default: this one)")
				->check([](const std::string &name) {
					return std::string{name.empty() ? "a name is needed" : ""};
				});
			command.add_option("-d,--duration", o.seconds, "Seconds to record (default: until Ctrl-C)");
			command.add_option("-o,--output", o.file, "The trace to write")->required();
			command.add_option("--buffer", o.buffer, "Bytes of socket buffer (default: 67108864)")
				->check(CLI::Range(4096u, 1u << 30));
		},
		&run);
}

} // namespace pm::pathlab
