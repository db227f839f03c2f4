// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pathlab/results.hpp"

#include <fmt/format.h>

#include "pathlab/terminal.hpp"
#include "replay/compare.hpp"
#include "replay/machine.hpp"

namespace pm::pathlab {

namespace {

// A median; with its spread where there were repetitions that differ.
template <class Format>
std::string with_spread(const nlohmann::json &figure, Format &&format)
{
	const double median = figure.at("median"), least = figure.at("min"), most = figure.at("max");
	if (format(least) == format(most))
		return format(median);
	return fmt::format("{} ({}..{})", format(median), format(least), format(most));
}

} // namespace

nlohmann::json results_json(const std::vector<replay::run_report> &runs)
{
	nlohmann::json all = nlohmann::json::array();
	for (const replay::run_report &run : runs)
		all.push_back(run.to_json());
	return {{"schema", results_schema},
		{"machine", replay::describe_machine()},
		{"versions", replay::describe_versions()},
		{"runs", all},
		{"summary", replay::summarize_runs(runs)}};
}

std::string results_table(const std::vector<replay::run_report> &runs)
{
	std::vector<std::vector<std::string>> rows{{"trace", "pace", "backend", "sent/s", "lost", "tail heard",
						    "decisions missing", "latency p50", "p99", "CPU/event"}};
	std::string last;
	bool stock = false;
	for (const auto &line : replay::summarize_runs(runs)) {
		const std::string trace = line.at("trace"), pace = line.at("pace"), backend = line.at("backend");
		const bool same_load = last == trace + pace;
		if (!same_load && !last.empty())
			rows.emplace_back();
		last = trace + pace;
		// What mptcpd decides is only seen as commands that the kernel refuses; its own plugin has a policy of its own.
		const bool unseen = backend == "mptcpd-stock" || backend == "mptcpd";
		stock = stock || unseen;
		// What heard nothing was not fast.
		const bool heard = line.at("lost_share").at("median") < 1;
		const auto duration = [&](const char *figure) {
			return heard ? format_duration(line.at(figure).at("median")) : std::string{"-"};
		};
		rows.push_back({same_load ? "" : trace, same_load ? "" : pace, backend,
				format_count(line.at("offered_per_s").at("median")),
				with_spread(line.at("lost_share"), format_share),
				line.at("tail_delivered").is_null()
					? "-"
					: format_share(line.at("tail_delivered").at("median")),
				unseen ? "*" : with_spread(line.at("missing_share"), format_share),
				duration("latency_p50_ns"), duration("latency_p99_ns"), duration("cpu_ns_per_event")});
	}
	std::string text = format_table(rows, 3);
	if (stock)
		text += "* what mptcpd decides is not seen (sspi, its own plugin, opens no subflows); latency: until "
			"mptcpd has "
			"read the event, else until it is decided\n";
	return text;
}

} // namespace pm::pathlab
