// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The benchmarks: every figure that the project wants to reach, with its baseline beside it, measured here and now.
// Exit codes: 0 measured, whatever came out; 1 something could not be run (said on stderr); 2 the command line makes no
// sense; 130 interrupted.
#include <algorithm>
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "bench/topics.hpp"
#include "pathlab/terminal.hpp"
#include "replay/interrupt.hpp"
#include "replay/machine.hpp"

#ifdef __SANITIZE_ADDRESS__
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

namespace pm::bench {

namespace {

struct topic {
	std::string name, title;
	expected<void> (*measure)(job &);
};
const topic topics[] = {
	{"engine", "Engine: an event decided", &measure_engine},
	{"reader", "Reader: events at full sending rate, 8 MiB of socket buffer, a processor of its own",
	 &measure_reader},
	{"commands", "Commands: to 32 real connections, one processor", &measure_commands},
	{"live", "Live: real connections between two namespaces, two paths, IPv4", &measure_live},
	{"replayer", "Replayer: one processor sends", &measure_replayer},
	{"memory", "Memory", &measure_memory},
};

struct options {
	bool json = false, quick = false;
	std::vector<std::string> only;
	std::string trace_for_memory;
	std::uint64_t events = 0;
};

// What all topics yielded.
struct outcome {
	nlohmann::json figures = nlohmann::json::array(), failed = nlohmann::json::array();
	std::size_t targets = 0, reached = 0;
};

void run_topic(const topic &each, const options &asked, outcome &all)
{
	job work;
	work.quick = asked.quick;
	expected<void> done;
	{
		pathlab::progress_line line;
		work.tell = [&](double share, const std::string &what) { line.show(share, each.name + ": " + what); };
		done = each.measure(work);
	}
	for (const figure &one : work.figures) {
		nlohmann::json json = one.to_json();
		json["topic"] = each.name;
		all.figures.push_back(std::move(json));
		all.targets += one.goal.has_value();
		all.reached += one.reached().value_or(false);
	}
	if (!asked.json && !work.figures.empty()) {
		fmt::print("{}\n{}\n", each.title, figures_table(work.figures));
		std::fflush(stdout);
	}
	if (done || replay::interrupted())
		return;
	fmt::print(stderr, "bench: {}: {}\n", each.name, done.error().text);
	all.failed.push_back({{"topic", each.name}, {"error", done.error().text}});
}

void print_machine()
{
	const nlohmann::json machine = replay::describe_machine();
	fmt::print("{}, {} processors, {}\n", machine.at("processor").get<std::string>(),
		   machine.at("processors").get<int>(), machine.at("kernel").get<std::string>());
	if (sanitized)
		fmt::print("Built with sanitizers: these are not the figures of what users run.\n");
	fmt::print("Medians, with the least and the most of the repetitions.\n\n");
}

int run(const options &asked)
{
	replay::catch_interrupts();
	if (!asked.trace_for_memory.empty())
		return replay_for_memory(asked.trace_for_memory, asked.events);
	if (!asked.json)
		print_machine();
	outcome all;
	for (const topic &each : topics)
		if (asked.only.empty() ||
		    std::find(asked.only.begin(), asked.only.end(), each.name) != asked.only.end())
			if (!replay::interrupted())
				run_topic(each, asked, all);
	if (replay::interrupted()) {
		fmt::print(stderr, "bench: interrupted\n");
		return 130;
	}
	if (asked.json)
		fmt::print("{}\n", nlohmann::json{{"schema", 1},
						  {"quick", asked.quick},
						  {"sanitized", sanitized},
						  {"machine", replay::describe_machine()},
						  {"versions", replay::describe_versions()},
						  {"figures", all.figures},
						  {"targets", {{"set", all.targets}, {"reached", all.reached}}},
						  {"failed", all.failed}}
					   .dump(2));
	else
		fmt::print("{} of {} targets reached{}\n", all.reached, all.targets,
			   all.failed.empty() ? "" : "; not all could be measured");
	if (std::fflush(stdout) != 0) {
		fmt::print(stderr, "bench: cannot write to standard output: is the disk full?\n");
		return 1;
	}
	return all.failed.empty() ? 0 : 1;
}

int parse_and_run(int argc, char **argv)
{
	std::vector<std::string> names;
	for (const topic &each : topics)
		names.push_back(each.name);
	options asked;
	CLI::App app{"Measures pathlab's engine, reader, commands, live connections, replayer and memory against their "
		     "baselines and "
		     "targets. As root.",
		     "bench"};
	app.set_help_flag("-h,--help", "Print this help");
	app.add_flag("-j,--json", asked.json, "JSON on standard output");
	app.add_flag("--quick", asked.quick,
		     "Fewer repetitions, and a trace of 1,000,000 events instead of 10,000,000");
	app.add_option("--only", asked.only, "Only these topics, separated by commas")
		->delimiter(',')
		->check(CLI::IsMember(names));
	// How measure_memory() calls this program.
	app.add_option("--replay-for-memory", asked.trace_for_memory)->group("");
	app.add_option("--events", asked.events)->group("");
	try {
		app.parse(argc, argv);
	} catch (const CLI::Success &wanted) { // help
		return app.exit(wanted);
	} catch (const CLI::ParseError &wrong) {
		fmt::print(stderr, "bench: {} (`bench -h` helps)\n", wrong.what());
		return 2;
	}
	return run(asked);
}

} // namespace

} // namespace pm::bench

int main(int argc, char **argv)
{
	try {
		return pm::bench::parse_and_run(argc, argv);
	} catch (const std::exception &unexpected) { // out of memory, and the like
		fmt::print(stderr, "bench: {}\n", unexpected.what());
		return 1;
	}
}
