// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How much a comparison measures: quick, usual, full; on the host and in the virtual machine, which is slower.
#include "replay/compare.hpp"

#include <algorithm>

namespace pm::replay {

namespace {

// `load` is that of all of them, but for what is given.
void add_plans(std::vector<stress_plan> &to, stress_load load, const char *scenario, double rate,
	       std::uint64_t connections)
{
	load.rate = rate;
	load.connections = connections;
	if (const auto found = find_scenario(scenario))
		if (auto plans = make_plans(**found, load))
			to.insert(to.end(), plans->begin(), plans->end());
}

std::vector<stress_plan> plans_for(extent how_much, bool in_machine, std::uint32_t buffer_bytes)
{
	std::vector<stress_plan> plans;
	stress_load usual;
	usual.buffer_bytes = buffer_bytes;
	const auto add = [&](const char *scenario, double rate, std::uint64_t connections) {
		add_plans(plans, usual, scenario, rate, connections);
	};
	const bool quick = how_much == extent::quick, full = how_much == extent::full;
	std::vector<double> rates = quick ? std::vector<double>{500} : std::vector<double>{500, 1000, 2000, 4000, 8000};
	if (in_machine)
		rates = quick ? std::vector<double>{100} : std::vector<double>{50, 100, 200}; // emulated, it may make 300
	const double middle = in_machine ? 100 : 2000;
	for (const double rate : rates)
		add("steady", rate, static_cast<std::uint64_t>(rate * (full ? 5 : quick && !in_machine ? 0.5 : 1)));
	// As many as can be made: where what is too slow shows.
	add("steady", full_rate, in_machine ? (quick ? 500 : 1000) : quick ? 2000 : 8000);
	// Below the full rate they take their time.
	const std::uint64_t few = in_machine ? (full ? 400 : 100) : quick ? 500 : 2000;
	if (!(quick && in_machine))
		add("overrun", full_rate, in_machine ? 400 : few);
	if (quick)
		return plans;
	add("flash-crowd", middle / 4, few); // whose peak is ten times that
	add("mobility", middle, few);
	stress_load wider = usual;
	wider.paths = 3;
	wider.ipv4 = wider.ipv6 = true;
	add_plans(plans, wider, "steady", middle / 2, few);
	if (!in_machine || full)
		for (const char *scenario : {"step", "announce", "contention", "buffer"})
			add(scenario, middle, few);
	return plans;
}

bool has(const std::vector<stress_plan> &plans, const std::string &scenario)
{
	return std::any_of(plans.begin(), plans.end(), [&](const auto &each) { return each.scenario == scenario; });
}

} // namespace

compare_options compare_options::of(extent how_much, std::uint32_t buffer_bytes, std::string_view place)
{
	const bool inside = place == "vm";
	compare_options options;
	options.how_much = how_much;
	options.buffer_bytes = buffer_bytes;
	options.plans = plans_for(how_much, inside, buffer_bytes);
	for (const stress_plan &each : plans_for(how_much, false, buffer_bytes))
		if (auto &out = options.scenarios_left_out;
		    !has(options.plans, each.scenario) && (out.empty() || out.back() != each.scenario))
			out.push_back(each.scenario);
	options.probe_repetitions = inside ? 6 : 20; // there each takes longer
	options.rates = {10'000, 100'000, 200'000};
	if (inside) { // emulated, it sends 100,000 events/s at most
		options.rates = {10'000, 50'000};
		options.connections = 1000;
		options.seconds = 0.5;
		options.tail_events = 100;
	}
	if (how_much == extent::quick) {
		options.rates.resize(inside ? 1 : 2);
		options.connections /= 2;
		options.seconds = 0.2;
		options.tail_events = 100;
		options.probe_repetitions = inside ? 0 : 8;
		options.repetitions = inside ? 2 : 3;
		options.machine_seconds = 600;
	} else if (how_much == extent::full) {
		options.rates.insert(options.rates.begin(), 1'000);
		options.rates.insert(options.rates.begin() + 2, inside ? 20'000 : 50'000);
		options.repetitions = 5;
		options.probe_repetitions = 40;
		options.machine_seconds = 6 * 3600;
	}
	return options;
}

} // namespace pm::replay
