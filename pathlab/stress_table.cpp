// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pathlab/stress_table.hpp"

#include <fmt/format.h>

#include "pathlab/terminal.hpp"

namespace pm::pathlab {

namespace {

using nlohmann::json;

// The plan in a few words: the scenario, and what tells its plans apart.
std::string name_of(const json &line)
{
	const json &load = line.at("load");
	std::string name = line.at("scenario");
	if (load.at("contention") != 0)
		name += fmt::format(", {} busy, {}", load.at("contention").get<unsigned>(),
				    load.at("priority").get<std::string>());
	if (line.at("scenario") == "buffer")
		name += fmt::format(", {} KiB", load.at("buffer_bytes").get<unsigned>() / 1024);
	return name;
}

template <class Format>
std::string figure(const json &line, const char *name, Format &&format)
{
	const json &figures = line.at("figures");
	if (!figures.contains(name))
		return "-";
	const double median = figures[name].at("median"), least = figures[name].at("min"),
		     most = figures[name].at("max");
	const auto n = figures[name].at("n").get<unsigned>(), runs = line.at("runs").get<unsigned>();
	std::string words = format(median);
	if (format(least) != format(most))
		words += fmt::format(" ({}..{})", format(least), format(most));
	if (n < runs) // the others waited for it in vain, or it was not seen
		words += fmt::format(" in {} of {}", n, runs);
	return words;
}

std::string milliseconds(double ms) { return format_duration(ms * 1e6); }

std::string cost_in_words(const replay::probe_cost &cost)
{
	const auto between = [](double least, double most) {
		return fmt::format("{:.1f}..{:.1f} %", 100 * (1 - most), 100 * (1 - least));
	};
	return fmt::format("counting costs {:.1f} % ({}) of the connection rate: {} a second with it, {} without (medians "
			   "of {} pairs, {})\n",
			   100 * (1 - cost.ratio.median),
			   cost.median_within
				   ? between(cost.median_within->low, cost.median_within->high) + " with 95 % confidence"
				   : between(cost.ratio.least, cost.ratio.most),
			   format_count(cost.with.median), format_count(cost.without.median), cost.ratio.n, cost.backend);
}

} // namespace

std::string stress_table(const replay::stress_results &results)
{
	std::vector<std::vector<std::string>> rows{{"scenario", "backend", "runs", "made/s", "events", "lost",
						    "paths missing", "for", "join p50", "p99", "CPU manager", "machine",
						    "memory", "recovery"}};
	std::string last, notes;
	for (const json &line : results.summarize()) {
		const std::string name = name_of(line), backend = line.at("backend");
		const auto excluded = line.at("excluded").get<unsigned>(), counted = line.at("runs").get<unsigned>();
		const auto memory = [](double kib) { return fmt::format("{:.1f} MiB", kib / 1024); };
		const auto seconds = [](double s) { return format_duration(s * 1e9); };
		if (name != last && !last.empty())
			rows.emplace_back();
		rows.push_back(
			{name == last ? "" : name, backend,
			 excluded ? fmt::format("{} of {}", counted, counted + excluded) : std::to_string(counted),
			 figure(line, "made_per_s", format_count), figure(line, "events_emitted", format_count),
			 figure(line, "lost_share", format_share), figure(line, "subflows_missing", format_count),
			 figure(line, "missing_path_seconds", seconds),
			 figure(line, "join_latency_p50_ns", format_duration),
			 figure(line, "join_latency_p99_ns", format_duration),
			 figure(line, "manager_cpu_ns", format_duration),
			 figure(line, "machine_cpu_ns", format_duration), figure(line, "memory_kib", memory),
			 figure(line, "recovery_ms", milliseconds)});
		if (excluded)
			notes += fmt::format("{}, {}: {} of {} runs excluded: {}\n", name, backend, excluded,
					     counted + excluded, line.at("first_exclusion").get<std::string>());
		last = name;
	}
	for (const auto &each : results.left_out) {
		rows.push_back({"", each.backend, "left out"});
		notes += fmt::format("{}: left out: {}\n", each.backend, each.why());
	}
	std::string text;
	if (rows.size() > 1)
		text = format_table(rows, 2);
	if (results.probes)
		notes += cost_in_words(*results.probes);
	return text + notes;
}

} // namespace pm::pathlab
