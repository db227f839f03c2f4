// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stress_scenario.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pm::replay {

namespace {

// They stay until an action closes them.
constexpr unsigned stay_ms = 120'000;
constexpr std::uint32_t small_buffer = 16'384, smallest_buffer = 4096, large_buffer = 8u << 20;

stress_plan plan(std::string_view name, const stress_load &load, std::vector<load_step> steps,
		 std::vector<action> actions = {}, bool needs_loss = false)
{
	std::erase_if(steps, [](const load_step &each) { return each.connections == 0; });
	return {std::string{name}, load, std::move(steps), std::move(actions), needs_loss};
}

std::vector<stress_plan> steady(const stress_load &load)
{
	return {plan("steady", load, {{load.connections, load.rate}})};
}

// Twice and four times the rate, for as long each.
std::vector<stress_plan> step(const stress_load &load)
{
	const std::uint64_t n = load.connections / 7;
	return {plan("step", load,
		     {{load.connections - 6 * n, load.rate}, {2 * n, 2 * load.rate}, {4 * n, 4 * load.rate}})};
}

// Half of all connections come at ten times the rate, in the middle.
std::vector<stress_plan> flash_crowd(const stress_load &load)
{
	const std::uint64_t quarter = load.connections / 4;
	return {plan("flash-crowd", load,
		     {{quarter, load.rate},
		      {load.connections - 2 * quarter, std::min(10 * load.rate, full_rate)},
		      {quarter, load.rate}})};
}

std::vector<stress_plan> mobility(const stress_load &asked)
{
	stress_load load = asked;
	load.hold_ms = stay_ms;
	return {plan("mobility", load, {{load.connections, load.rate}},
		     {action::await_open, action::await_paths, action::remove_address, action::await_paths,
		      action::add_address, action::await_paths, action::close_all})};
}

// As many as there are further paths, unless a number was asked for.
std::vector<stress_plan> announce(const stress_load &asked)
{
	stress_load load = asked;
	load.announced = load.announced ? load.announced : load.paths - 1;
	return {plan("announce", load, {{load.connections, load.rate}})};
}

// All at once into a small buffer, then nothing more.
std::vector<stress_plan> overrun(const stress_load &asked)
{
	stress_load load = asked;
	load.hold_ms = stay_ms;
	load.rate = full_rate;
	load.buffer_bytes = std::min(load.buffer_bytes, small_buffer);
	return {plan("overrun", load, {{load.connections, load.rate}},
		     {action::await_open, action::await_paths, action::close_all}, true)};
}

std::vector<stress_plan> contention(const stress_load &asked)
{
	std::vector<stress_plan> both;
	for (const priority each : {priority::equal, priority::lower}) {
		stress_load load = asked;
		load.contention = load.contention ? load.contention : 2;
		load.contenders_priority = each;
		both.push_back(plan("contention", load, {{load.connections, load.rate}}));
	}
	return both;
}

std::vector<stress_plan> buffer(const stress_load &asked)
{
	std::vector<stress_plan> both;
	for (const std::uint32_t bytes : {smallest_buffer, large_buffer}) {
		stress_load load = asked;
		load.buffer_bytes = bytes;
		both.push_back(plan("buffer", load, {{load.connections, load.rate}}));
	}
	return both;
}

constexpr scenario all[] = {
	{"steady", "one rate", steady},
	{"step", "the rate, twice and four times as much", step},
	{"flash-crowd", "half of all connections at ten times the rate", flash_crowd},
	{"mobility", "connections that stay, while an address goes and comes back", mobility},
	{"announce", "the server announces addresses", announce},
	{"overrun", "all at once into a small buffer, then calm", overrun},
	{"contention", "busy threads, of equal and of lower priority", contention},
	{"buffer", "a small and a large event buffer", buffer},
};

} // namespace

std::span<const scenario> scenarios() noexcept { return all; }

expected<const scenario *> find_scenario(std::string_view name)
{
	std::vector<std::string_view> names;
	for (const scenario &each : all) {
		if (each.name == name)
			return &each;
		names.push_back(each.name);
	}
	return fail_usage(fmt::format("there is no scenario '{}'; there are: {}", name, fmt::join(names, ", ")));
}

expected<std::vector<stress_plan>> make_plans(const scenario &what, const stress_load &load)
{
	if (what.name == "mobility" && load.paths < 2)
		return fail_usage("the scenario mobility takes an address away: it needs --paths 2 or more");
	if (what.name == "announce" && load.paths < 2 && load.announced == 0)
		return fail_usage("the scenario announce needs an address to announce: --paths 2 or more");
	if (load.announced > 0 && load.announced >= load.paths)
		return fail_usage(
			fmt::format("{} addresses cannot be announced on {} paths: the server has one address "
				    "on each, and the first one is known",
				    load.announced, load.paths));
	return what.plans(load);
}

} // namespace pm::replay
