// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab compare: the whole comparison, into a folder.
#include <fstream>

#include <fmt/format.h>

#include "pathlab/commands.hpp"
#include "pathlab/results.hpp"
#include "pathlab/terminal.hpp"
#include "replay/compare.hpp"

namespace pm::pathlab {

namespace {

struct options {
	bool quick = false;
	std::string folder = "results", policy = "fullmesh";
	std::vector<std::string> settings;
	std::uint32_t buffer = 8u << 20;
};

expected<void> write(const std::string &path, const std::string &text)
{
	std::ofstream file{path};
	file << text;
	file.close();
	if (!file)
		return fail_errno(fmt::format("cannot write {}", path));
	return {};
}

expected<void> run(const options &asked, context &all)
{
	const auto chosen = choose_policy(asked.policy, asked.settings);
	if (!chosen)
		return tl::unexpected(chosen.error());
	auto comparing = asked.quick ? replay::compare_options::quick() : replay::compare_options::thorough();
	comparing.folder = asked.folder;
	comparing.policy = chosen->policy;
	comparing.settings = chosen->settings;
	comparing.buffer_bytes = asked.buffer;

	expected<replay::comparison> compared;
	{
		progress_line line;
		compared = replay::compare(comparing,
					   [&](double share, const std::string &what) { line.show(share, what); });
	}
	if (!compared)
		return tl::unexpected(compared.error());
	nlohmann::json json = results_json(compared->runs);
	json["recording"] = compared->recording;
	json["complete"] = compared->complete;
	const std::string file = asked.folder + "/results.json", text = json.dump(2) + "\n";
	if (auto written = write(file, text); !written)
		return written;
	fmt::print("{}", all.json ? text : results_table(compared->runs));
	if (!compared->complete)
		return fail(fmt::format("{}; {} has the {} runs that were finished",
					compared->failure.empty() ? "interrupted" : compared->failure, file,
					compared->runs.size()));
	if (!all.json)
		fmt::print("{}: every run, with machine and versions; the traces are beside it\n", file);
	return {};
}

} // namespace

void add_compare(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "compare", "Record real connections and replay them through every backend at rising rates",
		[](CLI::App &command, options &o) {
			command.add_flag("--quick", o.quick, "Fewer rates, shorter runs: under a minute");
			command.add_option("-o,--output", o.folder,
					   "The folder for results and traces (default: results)");
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
