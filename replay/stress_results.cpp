// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Stress runs as JSON: the schema pathlab-results/2, and medians over repetitions.
#include <algorithm>
#include <map>

#include "replay/machine.hpp"
#include "replay/stress.hpp"

namespace pm::replay {

namespace {

using nlohmann::json;

template <class T>
json or_null(const std::optional<T> &value)
{
	return value ? json(*value) : json(nullptr);
}

std::string families(const stress_load &load) { return load.ipv4 && load.ipv6 ? "both" : load.ipv6 ? "6" : "4"; }

json load_json(const stress_load &load)
{
	return {{"rate", load.rate >= full_rate ? json("max") : json(load.rate)},
		{"connections", load.connections},
		{"paths", load.paths},
		{"families", families(load)},
		{"hold_ms", load.hold_ms},
		{"buffer_bytes", load.buffer_bytes},
		{"announced", load.announced},
		{"contention", load.contention},
		{"priority", load.contenders_priority == priority::equal ? "equal" : "lower"},
		{"delay_us", load.delay_us},
		{"megabits", load.megabits}};
}

json latency_json(const std::optional<histogram> &latency)
{
	if (!latency)
		return nullptr;
	json raw = json::array();
	latency->each([&](std::uint64_t upper_end, std::uint64_t count) { raw.push_back({upper_end, count}); });
	return {{"n", latency->n()},
		{"p50", latency->percentile(0.5)},
		{"p90", latency->percentile(0.9)},
		{"p99", latency->percentile(0.99)},
		{"p999", latency->percentile(0.999)},
		{"max", latency->max()},
		{"histogram", raw}};
}

json events_json(const std::optional<event_account> &events)
{
	if (!events)
		return nullptr;
	return {{"emitted", events->emitted},
		{"emitted_by", events->emitted_by},
		{"delivered", events->delivered},
		{"acted_on", or_null(events->acted_on)},
		{"lost", events->lost}};
}

json commands_json(const std::optional<commands_told> &commands)
{
	if (!commands)
		return nullptr;
	return {{"sent", commands->sent}, {"accepted", commands->accepted}, {"refused", commands->refused}};
}

// The figures of a run by a name, as they are summed up; those that there are.
std::map<std::string, double> figures_of(const stress_run &run)
{
	std::map<std::string, double> figures;
	const auto made = static_cast<double>(run.load.made);
	const auto put = [&](const char *name, auto value) { figures[name] = static_cast<double>(value); };
	if (run.load.opening_seconds > 0)
		put("made_per_s", made / run.load.opening_seconds);
	if (run.events) {
		std::uint64_t lost = 0;
		for (const auto &[stage, count] : run.events->lost)
			lost += count;
		put("events_emitted", run.events->emitted);
		put("events_lost", lost);
		if (run.events->emitted > 0)
			put("lost_share", static_cast<double>(lost) / static_cast<double>(run.events->emitted));
	}
	put("subflows_expected", run.paths.expected);
	put("subflows_missing", run.paths.missing);
	put("subflows_server", run.came_up_server);
	put("missing_path_seconds", run.paths.path_seconds);
	if (run.join_latency && run.join_latency->n() > 0) {
		put("join_latency_p50_ns", run.join_latency->percentile(0.5));
		put("join_latency_p99_ns", run.join_latency->percentile(0.99));
		put("join_latency_max_ns", run.join_latency->max());
	}
	if (run.load.made > 0) {
		if (run.manager_cpu_ns)
			put("manager_cpu_ns", static_cast<double>(*run.manager_cpu_ns) / made);
		put("machine_cpu_ns", static_cast<double>(run.machine_cpu_ns) / made);
	}
	if (run.memory_kib)
		put("memory_kib", *run.memory_kib);
	if (run.recovery_ms)
		put("recovery_ms", *run.recovery_ms);
	if (run.moving_ms)
		put("moving_ms", *run.moving_ms);
	return figures;
}

} // namespace

json stress_run::to_json() const
{
	json timeline = json::array();
	for (const auto &[ms, lacking] : paths.timeline)
		timeline.push_back({ms, lacking});
	const auto made = static_cast<double>(load.made);
	const auto each = [&](std::uint64_t ns) {
		return load.made ? json(static_cast<double>(ns) / made) : json(nullptr);
	};
	return {
		{"scenario", plan.scenario},
		{"backend", backend},
		{"policy", policy},
		{"settings", assignments},
		{"place", this_place()},
		{"load", load_json(plan.load)},
		{"repetition", repetition},
		{"seconds", seconds},
		{"excluded", or_null(excluded)},
		{"connections",
		 {{"asked", load.asked},
		  {"made", load.made},
		  {"failed", load.failed},
		  {"first_failure", load.first_failure},
		  {"sent_late_p99_ns", load.sent_late.percentile(0.99)}}},
		{"events", events_json(events)},
		{"commands", commands_json(commands)},
		{"subflows",
		 {{"expected", paths.expected},
		  {"client", came_up_client},
		  {"server", came_up_server},
		  {"missing", paths.missing}}},
		{"missing",
		 {{"at_end", paths.lacking_at_end},
		  {"most", paths.most_lacking},
		  {"path_seconds", paths.path_seconds},
		  {"timeline_ms", timeline}}},
		{"join_latency_ns", latency_json(join_latency)},
		{"not_timed", not_timed.empty() ? json(nullptr) : json(not_timed)},
		{"rate",
		 {{"offered_per_s", load.scheduled_seconds > 0
					    ? json(static_cast<double>(load.asked) / load.scheduled_seconds)
					    : json(nullptr)},
		  {"made_per_s", load.opening_seconds > 0 ? json(made / load.opening_seconds) : json(nullptr)}}},
		{"cpu_ns_per_connection",
		 {{"path_manager", manager_cpu_ns ? each(*manager_cpu_ns) : json(nullptr)},
		  {"machine", each(machine_cpu_ns)},
		  {"machine_step", each(machine_cpu_step_ns)}}},
		{"memory_kib", or_null(memory_kib)},
		{"recovery_ms", or_null(recovery_ms)},
		{"moving_ms", or_null(moving_ms)},
	};
}

json stress_results::summarize() const
{
	struct point {
		const stress_run *first;
		std::map<std::string, std::vector<double>> figures;
		std::size_t counted = 0, excluded = 0;
		std::string why;
	};
	std::vector<std::pair<std::string, point>> points; // in the order of their first runs
	for (const stress_run &run : runs) {
		const std::string key = run.plan.scenario + run.backend + load_json(run.plan.load).dump();
		auto at = std::find_if(points.begin(), points.end(),
				       [&](const auto &each) { return each.first == key; });
		if (at == points.end())
			at = points.insert(points.end(), {key, point{&run, {}, 0, 0, {}}});
		point &here = at->second;
		if (run.excluded) {
			++here.excluded;
			here.why = here.why.empty() ? *run.excluded : here.why;
			continue;
		}
		++here.counted;
		for (const auto &[name, value] : figures_of(run))
			here.figures[name].push_back(value);
	}
	json all = json::array();
	for (const auto &[key, one] : points) {
		json line = {{"scenario", one.first->plan.scenario},
			     {"backend", one.first->backend},
			     {"policy", one.first->policy},
			     {"load", load_json(one.first->plan.load)},
			     {"runs", one.counted},
			     {"excluded", one.excluded},
			     {"first_exclusion", one.why.empty() ? json(nullptr) : json(one.why)},
			     {"figures", json::object()}};
		for (const auto &[name, values] : one.figures) {
			const summary s = replay::summarize(values);
			line["figures"][name] = {{"n", s.n}, {"median", s.median}, {"min", s.least}, {"max", s.most}};
		}
		all.push_back(std::move(line));
	}
	return all;
}

json stress_results::to_json(const std::string &command) const
{
	json all_runs = json::array(), absent_ones = json::array();
	for (const stress_run &run : runs)
		all_runs.push_back(run.to_json());
	for (const absent &each : left_out)
		absent_ones.push_back({{"backend", each.backend},
				       {"place", this_place()},
				       {"part", each.part.empty() ? json(nullptr) : json(each.part)},
				       {"reason", each.reason}});
	json cost = nullptr;
	if (const auto within = probes ? probes->median_within : std::nullopt; probes)
		cost = {{"rate_with", probes->with.median},
			{"rate_without", probes->without.median},
			{"cost_share", 1 - probes->ratio.median},
			{"ratio",
			 {{"n", probes->ratio.n},
			  {"median", probes->ratio.median},
			  {"low", within ? json(within->low) : json(nullptr)},
			  {"high", within ? json(within->high) : json(nullptr)},
			  {"min", probes->ratio.least},
			  {"max", probes->ratio.most}}},
			{"repetitions", probes->ratio.n},
			{"backend", probes->backend}};
	return {{"schema", "pathlab-results/2"},
		{"machine", describe_machine()},
		{"versions", describe_versions()},
		{"command", command},
		{"started", started},
		{"complete", complete},
		{"failure", failure.empty() ? json(nullptr) : json(failure)},
		{"left_out", absent_ones},
		{"probes", cost},
		{"stress", all_runs},
		{"summary", summarize()}};
}

} // namespace pm::replay
