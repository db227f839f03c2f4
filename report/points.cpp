// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/points.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pathlab/terminal.hpp"

namespace pm::report {

namespace {

constexpr figure replay_figures[] = {
	{"lost_share", "events lost", unit::share, true, 0.001},
	{"tail_delivered", "calm tail heard", unit::share, false, 0.01},
	{"decisions_missing", "decisions missing", unit::share, true, 0.001},
	{"latency_p50", "latency p50", unit::duration, true, 200},
	{"latency_p99", "latency p99", unit::duration, true, 2000},
	{"cpu_per_event", "CPU/event", unit::duration, true, 50},
};

constexpr figure stress_figures[] = {
	{"lost_share", "events lost", unit::share, true, 0.001},
	{"failed_share", "connections failed", unit::share, true, 0.001},
	{"missing_at_end", "lacking a path at the end", unit::share, true, 0.001},
	{"without_path", "without a path, per connection", unit::duration, true, 1e5},
	{"recovery", "recovered after", unit::duration, true, 5e6},
	{"moving", "moved within", unit::duration, true, 5e6},
	{"join_p50", "second path p50", unit::duration, true, 2000},
	{"join_p99", "second path p99", unit::duration, true, 20000},
	{"made_per_s", "connections made", unit::per_second, false, 5},
	{"rate_share", "of none's rate", unit::share, false, 0.005, true},
	{"cpu_path_manager", "CPU/connection, path manager", unit::duration, true, 500},
	{"cpu_machine", "CPU/connection, machine", unit::duration, true, 500},
	{"cpu_kernel", "CPU/connection, kernel beyond none", unit::duration, true, 500, true},
	{"memory", "memory", unit::kib, true, 256},
};

constexpr double usual_buffer = 8 << 20; // of which nothing is said

using reading = std::optional<double>;

reading scaled(reading value, double by) { return value ? reading{*value * by} : reading{}; }

reading ratio(reading part, reading whole)
{
	if (!part || !whole)
		return {};
	return *whole > 0 ? *part / *whole : 0;
}

reading sum_of(const json &run, const char *where)
{
	const json::json_pointer at{where};
	if (!run.contains(at) || !run.at(at).is_object())
		return {};
	double sum = 0;
	for (const auto &[stage, count] : run.at(at).items())
		sum += count.is_number() ? count.get<double>() : 0;
	return sum;
}

// A percentile of nothing is written as 0.
reading latency_at(const json &run, const std::string &of, const char *percentile)
{
	const reading n = number_at(run, (of + "/n").c_str());
	return n && *n > 0 ? number_at(run, (of + '/' + percentile).c_str()) : reading{};
}

reading replay_value(std::string_view key, const json &run)
{
	if (key == "lost_share")
		return ratio(sum_of(run, "/lost"), number_at(run, "/emitted"));
	if (key == "tail_delivered")
		return number_at(run, "/tail_delivered");
	if (key == "decisions_missing") // mptcpd's decisions are not seen
		return run.at("backend").get<std::string>().starts_with("mptcpd")
			       ? reading{}
			       : ratio(number_at(run, "/decisions/missing"), number_at(run, "/decisions/expected"));
	if (key == "latency_p50")
		return latency_at(run, "/latency_ns", "p50");
	if (key == "latency_p99")
		return latency_at(run, "/latency_ns", "p99");
	return number_at(run, "/cpu_ns_per_event");
}

// The share of a run's connections that had their paths at their end.
double share_that_came(const json &run)
{
	const double made = number_at(run, "/connections/made").value_or(0);
	return made > 0 ? std::clamp(1 - number_at(run, "/missing/at_end").value_or(0) / made, 0.0, 1.0) : 1;
}

second_paths second_paths_of(const std::vector<const json *> &runs)
{
	second_paths all;
	std::map<double, double> counts;
	for (const json *run : runs) {
		const reading n = number_at(*run, "/join_latency_ns/n");
		const double came = share_that_came(*run);
		if (!n || (*n == 0 && came > 0)) // nothing is known of when they came
			continue;
		const double made = number_at(*run, "/connections/made").value_or(0);
		for (const json &bucket : came > 0 ? run->at("join_latency_ns").at("histogram") : json::array())
			counts[bucket[0].get<double>()] += bucket[1].get<double>() * made * came / *n;
		all.connections += made;
		all.came += made * came;
		all.captured += *n;
		all.latest = std::max(all.latest, number_at(*run, "/join_latency_ns/max").value_or(0));
	}
	all.histogram.assign(counts.begin(), counts.end());
	return all;
}

// Of a run whose connections all had their paths, as it was recorded; else of all connections.
reading second_path_at(const json &run, const char *recorded, double share)
{
	if (share_that_came(run) == 1)
		return latency_at(run, "/join_latency_ns", recorded);
	const second_paths one = second_paths_of(std::vector{&run});
	return one.connections > 0 ? reading{one.percentile(share)} : reading{};
}

// What these scenarios wait for: null where they did so in vain.
reading awaited(const json &run, const char *field, std::initializer_list<std::string_view> scenarios)
{
	const json value = run.value(field, json(false));
	if (value.is_number())
		return value.get<double>() * 1e6;
	const auto scenario = run.at("scenario").get<std::string>();
	const bool asked = std::find(scenarios.begin(), scenarios.end(), scenario) != scenarios.end();
	return value.is_null() && asked ? reading{never} : reading{};
}

reading stress_value(std::string_view key, const json &run)
{
	if (key == "lost_share")
		return ratio(sum_of(run, "/events/lost"), number_at(run, "/events/emitted"));
	if (key == "failed_share")
		return ratio(number_at(run, "/connections/failed"), number_at(run, "/connections/asked"));
	if (key == "missing_at_end")
		return ratio(number_at(run, "/missing/at_end"), number_at(run, "/connections/made"));
	if (key == "without_path")
		return scaled(ratio(number_at(run, "/missing/path_seconds"), number_at(run, "/connections/made")), 1e9);
	if (key == "recovery")
		return awaited(run, "recovery_ms", {"overrun", "mobility"});
	if (key == "moving")
		return awaited(run, "moving_ms", {"mobility"});
	if (key == "join_p50")
		return second_path_at(run, "p50", 0.5);
	if (key == "join_p99")
		return second_path_at(run, "p99", 0.99);
	if (key == "made_per_s")
		return number_at(run, "/rate/made_per_s");
	if (key == "cpu_path_manager")
		return number_at(run, "/cpu_ns_per_connection/path_manager");
	if (key == "cpu_machine")
		return number_at(run, "/cpu_ns_per_connection/machine");
	return number_at(run, "/memory_kib");
}

// What is neither in the path manager's process nor there without any path manager.
reading cpu_beyond_none(const point &at, const json &run)
{
	const reading machine = stress_value("cpu_machine", run);
	if (!machine || !at.cpu_of_none || at.backend == "none")
		return {};
	return *machine - *at.cpu_of_none - stress_value("cpu_path_manager", run).value_or(0);
}

std::string pace_in_words(const json &pace)
{
	if (const reading speed = number_at(pace, "/speed"))
		return fmt::format("own times x{:g}", *speed);
	const json rate = pace.value("rate", json{});
	return rate.is_number() ? fmt::format("{:.0f}/s", rate.get<double>()) : "full rate";
}

// Of the command of a comparison, what the replays depend on: how long they are, and the buffers.
std::string options_of_replays(const results &all)
{
	const json command = all.data.value("command", json{});
	std::istringstream words{command.is_string() ? command.get<std::string>() : ""};
	std::string options;
	for (std::string word, before; words >> word; before = word)
		if (word == "--quick" || word == "--full" || before == "--buffer")
			options += (options.empty() ? "" : " ") + (before == "--buffer" ? before + ' ' + word : word);
	return options;
}

point point_of(part of, const json &run, const std::string &options)
{
	point one{.of = of,
		  .place = run.value("place", json{}).is_string() ? run.at("place").get<std::string>() : "host",
		  .scenario = of == part::stress
				      ? run.at("scenario").get<std::string>()
				      : std::filesystem::path{run.at("trace").get<std::string>()}.stem().string(),
		  .backend = run.at("backend"),
		  .policy = run.at("policy"),
		  .load = of == part::stress ? run.at("load") : json{{"pace", pace_in_words(run.at("pace"))}},
		  .options = of == part::replay ? options : "",
		  .settings = {},
		  .runs = {},
		  .excluded = {}};
	for (const json &each : run.value("settings", json::array()))
		if (each.is_string())
			one.settings.push_back(each);
	std::stable_sort(one.settings.begin(), one.settings.end(), [](const std::string &a, const std::string &b) {
		return a.substr(0, a.find('=')) < b.substr(0, b.find('='));
	});
	return one;
}

void hold_against_none(std::vector<point> &points)
{
	std::map<std::string, const point *> floors;
	for (const point &each : points)
		if (each.of == part::stress && each.backend == "none" && !each.runs.empty())
			floors[each.key_of_load()] = &each;
	for (point &each : points) {
		const auto floor = floors.find(each.key_of_load());
		if (floor == floors.end())
			continue;
		if (const summary rate = floor->second->figure("made_per_s"); rate.n)
			each.rate_of_none = rate.median;
		if (const summary cpu = floor->second->figure("cpu_machine"); cpu.n)
			each.cpu_of_none = cpu.median;
	}
}

} // namespace

std::span<const figure> figures_of(part of)
{
	if (of == part::replay)
		return replay_figures;
	return stress_figures;
}

const figure &figure_of(part of, std::string_view key)
{
	const auto all = figures_of(of);
	return *std::find_if(all.begin(), all.end() - 1, [&](const figure &each) { return each.key == key; });
}

std::string in_words(unit in, double value)
{
	if (std::isinf(value))
		return "never";
	if (value < 0)
		return '-' + in_words(in, -value);
	switch (in) {
	case unit::share: return pathlab::format_share(value);
	case unit::duration: return pathlab::format_duration(value);
	case unit::count: return pathlab::format_count(value);
	case unit::per_second: return pathlab::format_count(value) + "/s";
	case unit::kib: return fmt::format("{:.1f} MiB", value / 1024);
	}
	return {};
}

std::string in_words(unit in, const summary &values)
{
	if (values.n == 0)
		return "-";
	const std::string least = in_words(in, values.least), most = in_words(in, values.most);
	return least == most ? least : fmt::format("{} ({}..{})", in_words(in, values.median), least, most);
}

std::vector<double> point::values(std::string_view key) const
{
	std::vector<double> all;
	for (const json *run : runs) {
		const auto value = of == part::replay	? replay_value(key, *run)
				   : key == "rate_share" ? ratio(stress_value("made_per_s", *run), rate_of_none)
				   : key == "cpu_kernel" ? cpu_beyond_none(*this, *run)
							 : stress_value(key, *run);
		if (value)
			all.push_back(*value);
	}
	return all;
}

double point::resolution(std::string_view key) const
{
	double coarsest = figure_of(of, key).resolution;
	if (key == "cpu_machine")
		for (const json *run : runs)
			coarsest = std::max(coarsest, number_at(*run, "/cpu_ns_per_connection/machine_step").value_or(0));
	return coarsest;
}

std::string point::in_words(std::string_view key) const
{
	const auto all = values(key);
	const auto vain = std::count(all.begin(), all.end(), never);
	const std::string words = report::in_words(figure_of(of, key).in, summarize(all));
	return vain > 0 ? fmt::format("{}, never in {} of {}", words, vain, all.size()) : words;
}

double point::rate() const
{
	if (of == part::stress && !at_full_rate())
		return load.at("rate").get<double>();
	std::vector<double> all;
	for (const json *run : runs)
		all.push_back(number_at(*run, of == part::stress ? "/rate/made_per_s" : "/offered_per_s").value_or(0));
	return summarize(all).median;
}

bool point::at_full_rate() const
{
	return of == part::stress && load.at("rate").is_string(); // "max"
}

bool point::compares_by(const report::figure &what) const
{
	const bool as_fast_as_can_be = of == part::replay && load.at("pace") == pace_in_words({{"rate", "max"}});
	return !(as_fast_as_can_be && std::string_view{what.key}.starts_with("latency"));
}

std::string point::load_in_words() const
{
	if (of == part::replay)
		return load.at("pace");
	const auto number = [&](const char *name) {
		return load.value(name, json{}).is_number() ? load[name].get<double>() : 0.0;
	};
	std::string words = at_full_rate() ? "full rate" : pathlab::format_count(number("rate")) + "/s";
	if (number("paths") > 0 && number("paths") != 2)
		words += fmt::format(", {:.0f} path{}", number("paths"), number("paths") == 1 ? "" : "s");
	if (const json families = load.value("families", json{}); families.is_string() && families != "4")
		words += families == "6" ? ", IPv6" : ", both families";
	if (number("buffer_bytes") > 0 && number("buffer_bytes") != usual_buffer)
		words += number("buffer_bytes") >= 1 << 20
				 ? fmt::format(", {:.3g} MiB", number("buffer_bytes") / (1 << 20))
				 : fmt::format(", {:.3g} KiB", number("buffer_bytes") / 1024);
	if (number("announced") > 0)
		words += fmt::format(", {:.0f} announced", number("announced"));
	if (number("contention") > 0)
		words += fmt::format(", {:.0f} busy threads", number("contention"));
	if (number("delay_us") > 0)
		words += fmt::format(", {:g} ms away", number("delay_us") / 1e3);
	if (number("megabits") > 0)
		words += fmt::format(", {:.0f} Mbit/s", number("megabits"));
	if (const json priority = load.value("priority", json{}); priority.is_string() && priority != "equal")
		words += fmt::format(", priority {}", priority.get<std::string>());
	return words;
}

std::string point::load_in_full() const
{
	std::string words = load_in_words();
	if (const auto connections = number_at(load, "/connections"))
		words += fmt::format(", {:.0f} connections", *connections);
	if (const auto hold = number_at(load, "/hold_ms"))
		words += fmt::format(" of {:.0f} ms", *hold);
	if (!options.empty())
		words += ", " + options;
	for (const std::string &each : settings)
		words += ", " + each;
	return words;
}

std::string point::policy_in_words() const
{
	return settings.empty() ? policy : fmt::format("{} {}", policy, fmt::join(settings, " "));
}

std::string point::key_of_load() const
{
	return fmt::format("{} {} {} {} {}{}{}", of == part::replay ? "replay" : "stress", place, scenario,
			   policy_in_words(), load.dump(), options.empty() ? "" : " ", options);
}

std::vector<point> points_of(const results &all)
{
	std::vector<point> points;
	std::map<std::string, std::size_t> known;
	const std::string options = options_of_replays(all);
	for (const part of : {part::replay, part::stress}) {
		for (const json &run : all.data.at(of == part::replay ? "replay" : "stress")) {
			point one = point_of(of, run, options);
			const auto [at, is_new] = known.try_emplace(one.key(), points.size());
			if (is_new)
				points.push_back(std::move(one));
			const bool excluded = !run.value("excluded", json{}).is_null();
			point &same = points[at->second];
			(excluded ? same.excluded : same.runs).push_back(&run);
		}
	}
	hold_against_none(points);
	return points;
}

second_paths second_paths_of(const point &at) { return second_paths_of(at.runs); }

double second_paths::percentile(double share) const
{
	const double wanted = share * connections * (1 - 1e-9); // what rounding took away
	double below = 0;
	for (const auto &[upper_end, number] : histogram)
		if ((below += number) >= wanted)
			return std::min(upper_end, latest);
	return never;
}

} // namespace pm::report
