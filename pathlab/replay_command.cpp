// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab replay: a trace through one or more backends.
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pathlab/commands.hpp"
#include "pathlab/results.hpp"
#include "pathlab/terminal.hpp"
#include "replay/interrupt.hpp"
#include "replay/runner.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string file, policy, rate;
	std::vector<std::string> through, settings;
	std::optional<double> speed;
	std::uint64_t repetitions = 1, tail = 300;
	std::uint32_t buffer = 8u << 20;
};

expected<replay::pacing> pace_of(const options &asked)
{
	if (!asked.rate.empty() && asked.speed)
		return fail_usage("--rate and --speed exclude each other: give one of them");
	if (asked.rate == "max")
		return replay::at_full_rate{};
	if (!asked.rate.empty()) {
		double rate = 0;
		const char *end = asked.rate.data() + asked.rate.size();
		const auto [at, wrong] = std::from_chars(asked.rate.data(), end, rate);
		if (wrong != std::errc{} || at != end || !std::isfinite(rate) || rate <= 0)
			return fail_usage(
				fmt::format("--rate takes events per second, a number above 0, or `max`, not '{}'",
					    asked.rate));
		return replay::at_rate{rate};
	}
	const double speed = asked.speed.value_or(1);
	if (!(speed > 0) || !std::isfinite(speed))
		return fail_usage(fmt::format("--speed takes a number above 0, not {}", speed));
	return replay::at_own_times{speed};
}

expected<void> run(const options &asked, context &all)
{
	const auto chosen = choose_policy(asked.policy, asked.settings);
	if (!chosen)
		return tl::unexpected(chosen.error());
	const auto pace = pace_of(asked);
	if (!pace)
		return tl::unexpected(pace.error());
	std::vector<const replay::backend_info *> through;
	for (const std::string &name : asked.through) {
		const auto found = replay::find_backend(name);
		if (!found)
			return tl::unexpected(found.error());
		through.push_back(*found);
	}

	std::vector<replay::run_report> runs;
	{
		progress_line line;
		const double count = static_cast<double>(asked.repetitions) * static_cast<double>(through.size());
		for (std::uint64_t repetition = 0; repetition < asked.repetitions; ++repetition) {
			for (const replay::backend_info *backend : through) {
				line.show(static_cast<double>(runs.size()) / count,
					  fmt::format("through {}", backend->name));
				replay::run_options one;
				one.stream = {.trace = asked.file, .most_events = 0, .tail_events = asked.tail};
				one.pace = *pace;
				one.through = backend;
				one.backend.policy = chosen->policy;
				one.backend.settings = chosen->settings;
				one.backend.buffer_bytes = asked.buffer;
				one.assignments = asked.settings;
				auto ran = replay::run(one);
				if (replay::interrupted()) // whatever else it may have led to
					return replay::fail_interrupted();
				if (!ran)
					return tl::unexpected(ran.error());
				runs.push_back(std::move(*ran));
			}
		}
	}
	fmt::print("{}", all.json ? results_json(runs).dump(2) + "\n" : results_table(runs));
	return {};
}

} // namespace

void add_replay(CLI::App &app, context &all)
{
	std::vector<std::string_view> names;
	for (const auto &backend : replay::backends())
		names.push_back(backend.name);
	add_command<options>(
		app, all, "replay", "Replay a trace through backends",
		[&](CLI::App &command, options &o) {
			command.add_option("FILE", o.file, "The trace")->required();
			command.add_option("--through", o.through,
					   fmt::format("Backends, separated by commas: {}", fmt::join(names, ", ")))
				->required()
				->delimiter(',')
				->allow_extra_args(false);
			command.add_option("--policy", o.policy, "The policy (see `pathlab policies`)")->required();
			command.add_option("--set", o.settings, "A setting of the policy, NAME=VALUE")
				->allow_extra_args(false);
			command.add_option("--rate", o.rate,
					   "Events per second, evenly; or `max`: as fast as they can be sent");
			command.add_option("--speed", o.speed,
					   "The trace's own times, this many times as fast (default: 1)");
			command.add_option("--repeat", o.repetitions, "Repetitions of each, interleaved (default: 1)")
				->check(CLI::Range(1u, 10'000u));
			command.add_option("--tail", o.tail,
					   "Events of the calm tail behind the load, about (default: 300)")
				->check(CLI::Range(0u, 1'000'000u));
			command.add_option(
				       "--buffer", o.buffer,
				       "Bytes of socket buffer of the backends netlink and mptcpd (default: 8388608)")
				->check(CLI::Range(4096u, 1u << 28));
		},
		&run);
}

} // namespace pm::pathlab
