// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pathlab/results.hpp"

#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "pathlab/terminal.hpp"
#include "replay/machine.hpp"
#include "report/results_file.hpp"

namespace pm::pathlab {

using nlohmann::json;

namespace {

std::string pace_in_words(const json &pace)
{
	if (pace.contains("speed"))
		return fmt::format("own times x{:g}", pace.at("speed").get<double>());
	const json &rate = pace.at("rate");
	return rate.is_number() ? fmt::format("{:.0f}/s", rate.get<double>()) : "full rate";
}

// A median; with its spread where there were repetitions that differ.
template <class Format>
std::string with_spread(const nlohmann::json &figure, Format &&format)
{
	if (figure.is_null())
		return "-";
	const double median = figure.at("median"), least = figure.at("min"), most = figure.at("max");
	if (format(least) == format(most))
		return format(median);
	return fmt::format("{} ({}..{})", format(median), format(least), format(most));
}

} // namespace

json summarize_runs(const json &runs)
{
	// In the order in which they first ran: trace, pace and, within those, the backends' own order.
	std::vector<std::vector<const json *>> groups;
	std::map<std::string, std::size_t> place;
	for (const json &run : runs) {
		const std::string key = run.at("trace").dump() + run.at("pace").dump() + run.at("backend").dump() +
					run.value("place", "host");
		const auto [at, is_new] = place.try_emplace(key, groups.size());
		if (is_new)
			groups.emplace_back();
		groups[at->second].push_back(&run);
	}
	const auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
	const auto lost = [](const json &run) {
		double sum = 0;
		for (const auto &[stage, count] : run.at("lost").items())
			sum += count.get<double>();
		return sum;
	};
	json all = json::array();
	for (const auto &group : groups) {
		std::vector<const json *> counted;
		json why = nullptr;
		for (const json *run : group)
			if (const json excluded = run->value("excluded", json{}); excluded.is_null())
				counted.push_back(run);
			else if (why.is_null())
				why = excluded;
		// Of the runs that have it: what is null was not measured, which is not 0.
		const auto figure = [&](auto &&value) {
			std::vector<double> values;
			for (const json *run : counted)
				if (const std::optional<double> one = value(*run))
					values.push_back(*one);
			const replay::summary s = replay::summarize(values);
			return s.n == 0 ? json(nullptr)
					: json{{"n", s.n}, {"median", s.median}, {"min", s.least}, {"max", s.most}};
		};
		const auto number = [&](const char *where) {
			const json::json_pointer at{where};
			return figure([&](const json &run) {
				return run.at(at).is_null() ? std::optional<double>{} : run.at(at).get<double>();
			});
		};
		const auto latency = [&](const char *percentile) {
			return figure([&](const json &run) {
				const json &times = run.at("latency_ns");
				return times.at("n") == 0 ? std::optional<double>{} : times.at(percentile).get<double>();
			});
		};
		const json &first = *group.front();
		all.push_back({
			{"trace", std::filesystem::path{first.at("trace").get<std::string>()}.stem().string()},
			{"pace", pace_in_words(first.at("pace"))},
			{"backend", first.at("backend")},
			{"place", first.value("place", "host")},
			{"runs", counted.size()},
			{"excluded", group.size() - counted.size()},
			{"first_exclusion", why},
			{"offered_per_s", number("/offered_per_s")},
			{"lost_share",
			 figure([&](const json &run) { return std::optional{share(lost(run), run.at("emitted"))}; })},
			{"tail_delivered", number("/tail_delivered")},
			{"missing_share", figure([&](const json &run) {
				 const json &decisions = run.at("decisions");
				 return std::optional{share(decisions.at("missing"), decisions.at("expected"))};
			 })},
			{"wrong", number("/decisions/wrong")},
			{"latency_p50_ns", latency("p50")},
			{"latency_p99_ns", latency("p99")},
			{"cpu_ns_per_event", number("/cpu_ns_per_event")},
		});
	}
	return all;
}

json results_json(const std::vector<replay::run_report> &runs)
{
	json all = json::array();
	for (const replay::run_report &run : runs)
		all.push_back(run.to_json());
	json summary = summarize_runs(all);
	return {{"schema", report::results_schema},
		{"machine", replay::describe_machine()},
		{"versions", replay::describe_versions()},
		{"replay", std::move(all)},
		{"summary", std::move(summary)}};
}

std::string results_table(const std::vector<replay::run_report> &runs)
{
	return results_table(results_json(runs).at("summary"));
}

std::string results_table(const json &summary)
{
	std::vector<std::vector<std::string>> rows{{"trace", "pace", "backend", "sent/s", "lost", "tail heard",
						    "decisions missing", "latency p50", "p99", "CPU/event"}};
	std::string last, notes;
	bool stock = false;
	for (const json &line : summary) {
		const std::string trace = line.at("trace").get<std::string>() +
					  (line.at("place") == "vm" ? ", vm" : ""),
				  pace = line.at("pace"), backend = line.at("backend");
		const bool same_load = last == trace + pace;
		if (!same_load && !last.empty())
			rows.emplace_back();
		last = trace + pace;
		// What mptcpd decides is only seen as commands that the kernel refuses; its own plugin has a policy of its own.
		const bool unseen = backend == "mptcpd-stock" || backend == "mptcpd";
		stock = stock || unseen;
		const auto median = [&](const char *figure, auto &&format) {
			return line.at(figure).is_null() ? std::string{"-"} : format(line.at(figure).at("median"));
		};
		rows.push_back({same_load ? "" : trace, same_load ? "" : pace, backend,
				median("offered_per_s", format_count), with_spread(line.at("lost_share"), format_share),
				median("tail_delivered", format_share),
				unseen ? "*" : with_spread(line.at("missing_share"), format_share),
				median("latency_p50_ns", format_duration), median("latency_p99_ns", format_duration),
				median("cpu_ns_per_event", format_duration)});
		if (const auto excluded = line.at("excluded").get<unsigned>())
			notes += fmt::format("{}, {}, {}: {} of {} runs excluded: {}\n", trace, pace, backend, excluded,
					     excluded + line.at("runs").get<unsigned>(),
					     line.at("first_exclusion").get<std::string>());
	}
	std::string text = format_table(rows, 3) + notes;
	if (stock)
		text += "* what mptcpd decides is not seen (sspi, its own plugin, opens no subflows); latency: until "
			"mptcpd has "
			"read the event, else until it is decided\n";
	return text;
}

} // namespace pm::pathlab
