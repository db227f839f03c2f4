// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab compare: the whole comparison, into a folder, with its report; and whether it got worse.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pathlab/commands.hpp"
#include "pathlab/results.hpp"
#include "pathlab/terminal.hpp"
#include "replay/compare.hpp"
#include "replay/machine.hpp"
#include "replay/whole_file.hpp"
#include "report/report.hpp"
#include "report/selection.hpp"

namespace pm::pathlab {

namespace {

struct options {
	bool quick = false, full = false, host_only = false, resume = false;
	std::string folder = "results", policy = "fullmesh", only, baseline;
	std::vector<std::string> settings;
	std::uint32_t buffer = 8u << 20;
};

std::string command_line(const options &asked)
{
	std::string words = "pathlab compare";
	for (const auto &[given, word] :
	     {std::pair{asked.quick, " --quick"}, {asked.full, " --full"}, {asked.host_only, " --host-only"}})
		words += given ? word : "";
	if (!asked.only.empty())
		words += " --only " + asked.only;
	words += " --policy " + asked.policy;
	for (const std::string &each : asked.settings)
		words += " --set " + report::shell_word(each);
	return words + fmt::format(" --buffer {}", asked.buffer);
}

expected<replay::compare_options> read(const options &asked)
{
	if (asked.quick && asked.full)
		return fail_usage("--quick and --full exclude each other: give one of them");
	const auto chosen = choose_policy(asked.policy, asked.settings);
	if (!chosen)
		return tl::unexpected(chosen.error());
	auto comparing = replay::compare_options::of(asked.quick  ? replay::extent::quick
						     : asked.full ? replay::extent::full
								  : replay::extent::usual,
						     asked.buffer);
	comparing.folder = asked.folder;
	comparing.policy = chosen->policy;
	comparing.settings = chosen->settings;
	comparing.assignments = asked.settings;
	comparing.replays = asked.only != "stress";
	comparing.stresses = asked.only != "replay";
	comparing.in_machine = !asked.host_only;
	comparing.resume = asked.resume;
	return comparing;
}

nlohmann::json to_json(const replay::comparison &compared, const std::string &command)
{
	nlohmann::json all{{"schema", report::results_schema},
			   {"machine", replay::describe_machine()},
			   {"versions", replay::describe_versions()},
			   {"command", command},
			   {"started", compared.started},
			   {"complete", compared.complete},
			   {"failure",
			    compared.failure.empty() ? nlohmann::json(nullptr) : nlohmann::json(compared.failure)},
			   {"left_out", compared.left_out},
			   {"probes", compared.probes},
			   {"recording", compared.recording},
			   {"replay", compared.replays},
			   {"stress", compared.stresses},
			   {"summary", summarize_runs(compared.replays)}};
	if (!compared.machine.is_null())
		all["virtual_machine"] = compared.machine;
	return all;
}

// What is for people: the table, the answer, where the rest is.
void tell(const nlohmann::json &results, const report::results &checked, const std::string &folder)
{
	fmt::print("{}\n", results_table(results.at("summary")));
	for (const std::string &sentence : report::make_answer(checked))
		fmt::print("{}\n\n", sentence);
	for (const report::absence &each : report::absences_of(checked))
		fmt::print("left out {}: {}: {}\n", report::place_in_words(each.place), fmt::join(each.backends, ", "),
			   each.reason);
	fmt::print("{}/report.html: the report; results.json, summary.md, the traces and every run are beside it\n",
		   folder);
}

// The results it is held against are read before anything is measured.
expected<std::optional<report::results>> read_baseline(const std::string &file)
{
	if (file.empty())
		return std::optional<report::results>{};
	auto read = report::read_results(file);
	if (!read)
		return tl::unexpected(read.error());
	return std::optional{std::move(*read)};
}

expected<void> hold_against(const report::results &baseline, const report::results &now, bool json)
{
	const auto changes = report::compare_results(baseline, now);
	if (!changes.holds())
		return fail(changes.what_got_worse());
	if (!json)
		fmt::print("{}\n", changes.in_one_sentence());
	return {};
}

expected<void> run(const options &asked, context &all)
{
	const auto comparing = read(asked);
	if (!comparing)
		return tl::unexpected(comparing.error());
	const auto baseline = read_baseline(asked.baseline);
	if (!baseline)
		return tl::unexpected(baseline.error());
	const std::string file = asked.folder + "/results.json";
	const auto write = [&](const replay::comparison &so_far) {
		return replay::write_whole(file, to_json(so_far, command_line(asked)).dump(2) + "\n");
	};
	expected<replay::comparison> compared;
	{
		progress_line line;
		compared = replay::compare(
			*comparing, [&](double share, const std::string &what) { line.show(share, what); }, write);
	}
	if (!compared)
		return tl::unexpected(compared.error());

	if (auto written = write(*compared); !written) {
		compared->complete = false;
		compared->failure = written.error().text;
		// Nothing that was measured is lost.
		fmt::print("{}\n", to_json(*compared, command_line(asked)).dump(2));
		return fail(fmt::format("{}: the results are on standard output, and every run that was finished is in "
					"{}/runs",
					written.error().text, asked.folder));
	}
	const nlohmann::json json = to_json(*compared, command_line(asked));
	const auto checked = report::check_results(asked.folder, json);
	if (!checked)
		return tl::unexpected(checked.error());
	std::vector<report::results> shown;
	if (*baseline)
		shown.push_back(**baseline);
	shown.push_back(*checked);
	const auto reported = report::write_report(shown, asked.folder);
	if (all.json)
		fmt::print("{}\n", json.dump(2));
	else
		tell(json, *checked, asked.folder);
	if (!compared->complete)
		return fail(fmt::format("{}; {} has the {} runs that were finished, and --resume goes on",
					compared->failure.empty() ? "interrupted" : compared->failure, file,
					compared->replays.size() + compared->stresses.size()));
	if (!reported)
		return tl::unexpected(reported.error());
	return *baseline ? hold_against(**baseline, *checked, all.json) : expected<void>{};
}

} // namespace

void add_compare(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "compare",
		"Compare all backends: by replays, under stress, and in a virtual machine; write a report",
		[](CLI::App &command, options &o) {
			command.add_flag("--quick", o.quick, "Fewer rates, shorter runs: under three minutes");
			command.add_flag("--full", o.full, "More rates, scenarios and repetitions: hours");
			command.add_flag("--host-only", o.host_only, "Without the virtual machine of ./run vm");
			command.add_option("--only", o.only, "Only this part: replay or stress")
				->check(CLI::IsMember({"replay", "stress"}));
			command.add_flag("--resume", o.resume,
					 "Go on with what an interrupted comparison has left in the folder");
			command.add_option("--baseline", o.baseline,
					   "Earlier results, a file or folder: fail if a figure got worse than there, "
					   "beyond its noise, or is gone");
			command.add_option("-o,--output", o.folder,
					   "The folder for report, results and traces (default: results)");
			command.add_option("--policy", o.policy, "The policy (default: fullmesh)");
			command.add_option("--set", o.settings, "A setting of the policy, NAME=VALUE")->take_all();
			command.add_option(
				       "--buffer", o.buffer,
				       "Bytes of socket buffer of the backends netlink and mptcpd (default: 8388608)")
				->check(CLI::Range(4096u, 1u << 28));
		},
		&run);
}

} // namespace pm::pathlab
