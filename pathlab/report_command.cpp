// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab report: the report again, from results; of several, with what changed.
#include <filesystem>

#include <fmt/format.h>

#include "pathlab/commands.hpp"
#include "report/report.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::vector<std::string> folders;
	std::string output, pictures;
};

expected<void> run(const options &asked, context &all)
{
	std::vector<report::results> runs;
	for (const std::string &folder : asked.folders) {
		auto read = report::read_results(folder);
		if (!read)
			return tl::unexpected(read.error());
		runs.push_back(std::move(*read));
	}
	namespace fs = std::filesystem;
	const fs::path last = asked.folders.back();
	std::error_code error;
	const fs::path folder = !asked.output.empty()           ? fs::path{asked.output}
				: fs::is_directory(last, error) ? last
								: last.parent_path() / ".";
	for (const fs::path &each : {folder, fs::path{asked.pictures}}) {
		if (!each.empty())
			fs::create_directories(each, error);
		if (error)
			return fail(fmt::format("cannot write into the folder {}: {}", each.string(), error.message()));
	}
	if (auto written = report::write_report(runs, folder.string(), asked.pictures); !written)
		return written;

	if (all.json) {
		nlohmann::json changes = nlohmann::json::array();
		for (std::size_t i = 0; i + 1 < runs.size(); ++i)
			changes.push_back(report::to_json(report::compare_results(runs[i], runs.back())));
		fmt::print("{}\n", nlohmann::json{{"report", (folder / "report.html").string()},
						  {"answer", report::make_answer(runs.back())},
						  {"changes", changes}}
					   .dump(2));
		return {};
	}
	for (std::size_t i = 0; i + 1 < runs.size(); ++i)
		fmt::print("{}\n", report::compare_results(runs[i], runs.back()).in_one_sentence());
	fmt::print("{}: the report; summary.md beside it\n", (folder / "report.html").lexically_normal().string());
	return {};
}

} // namespace

void add_report(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "report", "Make the report again from results, or compare several results",
		[](CLI::App &command, options &o) {
			command.add_option("DIR", o.folders,
					   "Folders with results.json (or such files); the last is shown, compared "
					   "with those before it")
				->required();
			command.add_option("-o,--output", o.output,
					   "The folder for report.html and summary.md (default: the last DIR)");
			command.add_option("--pictures", o.pictures,
					   "Write each picture into this folder too, as an SVG file of its own");
		},
		&run);
}

} // namespace pm::pathlab
