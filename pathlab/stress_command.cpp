// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab stress: real connections while a path manager runs, and everything counted.
#include <charconv>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pathlab/commands.hpp"
#include "pathlab/stress_table.hpp"
#include "pathlab/terminal.hpp"
#include "replay/interrupt.hpp"
#include "replay/stress.hpp"
#include "replay/whole_file.hpp"
#include "report/selection.hpp"

namespace pm::pathlab {

namespace {

namespace fs = std::filesystem;

struct options {
	std::vector<std::string> through, settings, scenarios{"steady"};
	std::string policy = "fullmesh", rate = "2000", families = "4", priority = "equal", folder;
	replay::stress_load load;
	double delay_ms = 0;
	unsigned repetitions = 1, probe_repetitions = 0;
};

expected<replay::stress_load> load_of(const options &asked)
{
	replay::stress_load load = asked.load;
	if (asked.rate == "max") {
		load.rate = replay::full_rate;
	} else {
		const char *end = asked.rate.data() + asked.rate.size();
		const auto [at, wrong] = std::from_chars(asked.rate.data(), end, load.rate);
		if (wrong != std::errc{} || at != end || !(load.rate > 0) || load.rate > replay::full_rate)
			return fail_usage(
				fmt::format("--rate takes connections per second, a number above 0, or `max`, not "
					    "'{}'",
					    asked.rate));
	}
	load.ipv4 = asked.families != "6";
	load.ipv6 = asked.families != "4";
	load.contenders_priority = asked.priority == "lower" ? replay::priority::lower : replay::priority::equal;
	load.delay_us = static_cast<unsigned>(std::lround(asked.delay_ms * 1000));
	return load;
}

expected<replay::stress_options> read(const options &asked)
{
	replay::stress_options stress;
	const auto chosen = choose_policy(asked.policy, asked.settings);
	if (!chosen)
		return tl::unexpected(chosen.error());
	stress.policy = chosen->policy;
	stress.settings = chosen->settings;
	stress.assignments = asked.settings;
	stress.repetitions = asked.repetitions;
	stress.probe_repetitions = asked.probe_repetitions;
	for (const std::string &name : asked.through) {
		const auto found = replay::find_contender(name);
		if (!found)
			return tl::unexpected(found.error());
		stress.through.push_back(*found);
	}
	const auto load = load_of(asked);
	if (!load)
		return tl::unexpected(load.error());
	for (const std::string &name : asked.scenarios) {
		const auto scenario = replay::find_scenario(name);
		if (!scenario)
			return tl::unexpected(scenario.error());
		const auto plans = replay::make_plans(**scenario, *load);
		if (!plans)
			return tl::unexpected(plans.error());
		stress.plans.insert(stress.plans.end(), plans->begin(), plans->end());
	}
	return stress;
}

// results.json, always whole: it is written anew beside the old one, then takes its place.
class results_file {
public:
	explicit results_file(const std::string &folder) : folder_(folder) {}
	explicit operator bool() const noexcept { return !folder_.empty(); }
	std::string path() const { return folder_ + "/results.json"; }

	expected<void> prepare() const
	{
		std::error_code error;
		if (!folder_.empty())
			fs::create_directories(folder_, error);
		if (error)
			return fail(
				fmt::format("cannot write into the output folder {}: {}", folder_, error.message()));
		return {};
	}
	expected<void> write(const nlohmann::json &results) const
	{
		if (folder_.empty())
			return {};
		return replay::write_whole(path(), results.dump(2) + '\n');
	}

private:
	std::string folder_;
};

// All that the figures depend on; what is as usual only where it says what was measured.
std::string command_line(const options &asked)
{
	const options usual;
	std::string words = fmt::format(
		"pathlab stress --through {} --policy {} --scenario {} --connections {} --rate {} --paths {} "
		"--families {} --hold {} -n {}",
		fmt::join(asked.through, ","), asked.policy, fmt::join(asked.scenarios, ","), asked.load.connections,
		asked.rate, asked.load.paths, asked.families, asked.load.hold_ms, asked.repetitions);
	const auto add = [&](const char *option, const auto &value, const auto &otherwise) {
		if (value != otherwise)
			words += fmt::format(" {} {}", option, value);
	};
	for (const std::string &each : asked.settings)
		words += " --set " + report::shell_word(each);
	add("--buffer", asked.load.buffer_bytes, usual.load.buffer_bytes);
	add("--announce", asked.load.announced, usual.load.announced);
	add("--contention", asked.load.contention, usual.load.contention);
	add("--priority", asked.priority, usual.priority);
	add("--delay", asked.delay_ms, usual.delay_ms);
	add("--bandwidth", asked.load.megabits, usual.load.megabits);
	add("--probe-cost", asked.probe_repetitions, usual.probe_repetitions);
	return words;
}

// Where nothing that was asked for can run here, there is nothing to show for it.
void say_that_nothing_ran(replay::stress_results &results)
{
	if (!results.complete || !results.runs.empty() || results.left_out.empty())
		return;
	results.complete = false;
	results.failure = replay::stress_results::why_nothing_ran(results.left_out);
}

expected<void> run(const options &asked, context &all)
{
	const auto stress = read(asked);
	if (!stress)
		return tl::unexpected(stress.error());
	const results_file file{asked.folder};
	if (auto ready = file.prepare(); !ready)
		return ready;
	const std::string command = command_line(asked);
	replay::stress_results results;
	bool kept = true; // what was measured is in the file
	{
		progress_line line;
		results = replay::stress(
			*stress, [&](double share, const std::string &what) { line.show(share, what); },
			[&](const replay::stress_results &so_far) {
				auto written = file.write(so_far.to_json(command));
				kept = written.has_value();
				return written;
			});
	}
	say_that_nothing_ran(results);
	nlohmann::json json = results.to_json(command);
	if (kept)
		if (auto written = file.write(json); !written) {
			kept = false;
			results.complete = false;
			results.failure = written.error().text;
			json = results.to_json(command);
		}
	// What could not be written into the file is on stdout, so that nothing is lost.
	const bool lost = file && !kept;
	if (all.json || lost)
		fmt::print("{}\n", json.dump(2));
	else
		fmt::print("{}", stress_table(results));
	if (!results.complete) {
		const std::string why = results.failure.empty() ? "interrupted" : results.failure;
		if (results.runs.empty())
			return fail(why);
		return fail(fmt::format("{}; {} the {} runs that were finished", why,
					lost || !file ? "standard output has" : file.path() + " has",
					results.runs.size()));
	}
	if (!all.json && file)
		fmt::print("{}: every run, with machine and versions\n", file.path());
	return {};
}

} // namespace

void add_stress(CLI::App &app, context &all)
{
	std::vector<std::string_view> backends, scenarios;
	for (const auto &each : replay::contenders())
		backends.push_back(each.name);
	for (const auto &each : replay::scenarios())
		scenarios.push_back(each.name);
	add_command<options>(
		app, all, "stress", "Make real connections while a path manager runs, and count everything",
		[&](CLI::App &command, options &o) {
			command.add_option("--through", o.through,
					   fmt::format("Path managers, separated by commas: {}",
						       fmt::join(backends, ", ")))
				->required()
				->delimiter(',')
				->allow_extra_args(false);
			command.add_option("--policy", o.policy, "The policy (default: fullmesh)");
			command.add_option("--set", o.settings, "A setting of the policy, NAME=VALUE")
				->allow_extra_args(false);
			command.add_option(
				       "--scenario", o.scenarios,
				       fmt::format("What they go through, separated by commas: {} (default: steady)",
						   fmt::join(scenarios, ", ")))
				->delimiter(',')
				->allow_extra_args(false);
			command.add_option("--connections", o.load.connections, "How many (default: 2000)")
				->check(CLI::Range(1u, 10'000'000u));
			command.add_option("--rate", o.rate,
					   "Connections per second (default: 2000), or `max`: as many as can be made");
			command.add_option("--paths", o.load.paths, "Links between client and server (default: 2)")
				->check(CLI::Range(1u, 8u));
			command.add_option("--families", o.families, "4, 6 or both (default: 4)")
				->check(CLI::IsMember({"4", "6", "both"}));
			command.add_option("--hold", o.load.hold_ms,
					   "Milliseconds that a connection stays open (default: 30)")
				->check(CLI::Range(0u, 600'000u));
			command.add_option("--announce", o.load.announced,
					   "Addresses that the server announces (default: 0)")
				->check(CLI::Range(0u, 7u));
			command.add_option("--contention", o.load.contention, "Busy threads beside it (default: 0)")
				->check(CLI::Range(0u, 1024u));
			command.add_option("--priority", o.priority, "Of these: equal (default) or lower")
				->check(CLI::IsMember({"equal", "lower"}));
			command.add_option(
				       "--buffer", o.load.buffer_bytes,
				       "Bytes of the event socket's buffer, of netlink and mptcpd (default: 8388608)")
				->check(CLI::Range(4096u, 1u << 28));
			command.add_option("--delay", o.delay_ms,
					   "Milliseconds that a packet takes, each way (default: 0)")
				->check(CLI::Range(0.0, 10'000.0));
			command.add_option("--bandwidth", o.load.megabits,
					   "Megabits per second of each link (default: any)")
				->check(CLI::Range(1u, 17'000u));
			command.add_option("-n,--repeat", o.repetitions,
					   "Repetitions of each, interleaved (default: 1)")
				->check(CLI::Range(1u, 10'000u));
			command.add_option("--probe-cost", o.probe_repetitions,
					   "Measure what counting costs, so many times (default: 0)")
				->check(CLI::Range(0u, 1000u));
			command.add_option("-o,--output", o.folder, "The folder for results.json (default: none)");
		},
		&run);
}

} // namespace pm::pathlab
