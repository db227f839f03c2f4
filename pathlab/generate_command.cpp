// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab generate: a trace of made-up connections, the same for the same seed.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pathlab/terminal.hpp"
#include "replay/generate.hpp"
#include "replay/interrupt.hpp"
#include "replay/trace.hpp"

namespace pm::pathlab {

namespace {

// As good as any: readers go by the description that the trace begins with.
constexpr std::uint16_t family_id = 28;
constexpr std::uint32_t events_group = 9;

struct options {
	std::string shape, file;
	std::uint64_t connections = 0, seed = 1;
	double rate = 0;
};

expected<void> run(const options &asked, context &all)
{
	const auto shape = replay::find_shape(asked.shape);
	if (!shape)
		return tl::unexpected(shape.error());
	auto writer = replay::trace_writer::create(asked.file,
						   {.id = family_id,
						    .events_group = events_group,
						    .description = netlink::encode_family(family_id, events_group)});
	if (!writer)
		return tl::unexpected(writer.error());
	progress_line line;
	std::uint64_t events = 0, connections = 0;
	auto written = replay::generate(
		{.what = *shape, .connections = asked.connections, .rate = asked.rate, .seed = asked.seed},
		[&](const pm_event &event) -> expected<void> {
			if (replay::interrupted())
				return replay::fail_interrupted();
			connections += event.type == PM_CREATED;
			if (event.token != 0 && ++events % 100'000 == 0)
				line.show(static_cast<double>(connections) / static_cast<double>(asked.connections),
					  fmt::format("{} events", format_count(static_cast<double>(events))));
			return writer->write(event);
		});
	if (!written)
		return written;
	if (auto closed = writer->close(); !closed)
		return closed;
	if (all.json)
		fmt::print("{}\n", nlohmann::json{{"trace", asked.file},
						  {"shape", asked.shape},
						  {"connections", connections},
						  {"events", events},
						  {"seed", asked.seed}}
					   .dump(2));
	else
		fmt::print("{}: {} connections, {} events\n", asked.file, connections, events);
	return {};
}

} // namespace

void add_generate(CLI::App &app, context &all)
{
	std::vector<std::string_view> names;
	for (const auto &shape : replay::shapes())
		names.push_back(shape.name);
	add_command<options>(
		app, all, "generate", "Generate a trace",
		[&](CLI::App &command, options &o) {
			command.add_option("--shape", o.shape, fmt::format("One of: {}", fmt::join(names, ", ")))
				->required();
			command.add_option("--connections", o.connections, "How many connections, at least 1")
				->required()
				->check(CLI::Range(std::uint64_t{1},
						   std::uint64_t{UINT32_MAX})); // as many as there are tokens
			command.add_option("--rate", o.rate, "New connections per second, above 0")->required();
			command.add_option("--seed", o.seed, "The same seed makes the same trace (default: 1)");
			command.add_option("-o,--output", o.file, "The trace to write")->required();
		},
		&run);
}

} // namespace pm::pathlab
