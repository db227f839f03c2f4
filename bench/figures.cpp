// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "bench/figures.hpp"

#include <fmt/format.h>

#include "pathlab/terminal.hpp"

namespace pm::bench {

namespace {

const char *name_of(unit in)
{
	switch (in) {
	case unit::nanoseconds: return "ns";
	case unit::per_second: return "1/s";
	case unit::bytes: return "bytes";
	case unit::mebibytes: return "MiB";
	default: return "count";
	}
}

std::string with_unit(double value, unit in)
{
	switch (in) {
	case unit::nanoseconds:
		return value < 10'000 ? fmt::format("{:.{}f} ns", value, value < 1000 ? 1 : 0)
				      : pathlab::format_duration(value);
	case unit::per_second: return pathlab::format_count(value) + "/s";
	case unit::bytes: return pathlab::format_count(value) + " bytes";
	case unit::mebibytes: return fmt::format("{:.1f} MiB", value);
	default: return pathlab::format_count(value);
	}
}

// Limits are round numbers: "150 ns", not "150.0 ns".
std::string limit_text(const target &goal, unit in)
{
	if (goal.of_ratio)
		return fmt::format("{:g} x", goal.limit);
	if (in == unit::nanoseconds && goal.limit < 1000)
		return fmt::format("{:g} ns", goal.limit);
	return in == unit::mebibytes ? fmt::format("{:g} MiB", goal.limit) : with_unit(goal.limit, in);
}

std::string with_spread(const replay::summary &of, unit in)
{
	const std::string median = with_unit(of.median, in), least = with_unit(of.least, in),
			  most = with_unit(of.most, in);
	return least == most ? median : fmt::format("{} ({}..{})", median, least, most);
}

nlohmann::json to_json(const replay::summary &of)
{
	return {{"n", of.n}, {"median", of.median}, {"min", of.least}, {"max", of.most}};
}

} // namespace

std::optional<double> figure::ratio() const
{
	return beside.empty() || baseline.median == 0 ? std::nullopt : std::optional{measured.median / baseline.median};
}

std::optional<bool> figure::reached() const
{
	if (!goal)
		return std::nullopt;
	const std::optional<double> value = goal->of_ratio ? ratio() : std::optional{measured.median};
	if (!value)
		return false;
	return goal->side == target::at_most ? *value <= goal->limit : *value >= goal->limit;
}

nlohmann::json figure::to_json() const
{
	nlohmann::json json{{"what", what},        {"unit", name_of(in)}, {"measured", bench::to_json(measured)},
			    {"baseline", nullptr}, {"ratio", nullptr},    {"target", nullptr},
			    {"reached", nullptr}};
	if (!beside.empty()) {
		json["baseline"] = bench::to_json(baseline);
		json["baseline"]["what"] = beside;
	}
	if (const auto value = ratio())
		json["ratio"] = *value;
	if (const auto met = reached()) {
		json["reached"] = *met;
		json["target"] = {{"of", goal->of_ratio ? "ratio" : "measured"},
				  {goal->side == target::at_most ? "at_most" : "at_least", goal->limit}};
	}
	return json;
}

std::string figures_table(const std::vector<figure> &figures)
{
	std::vector<std::vector<std::string>> rows{
		{"what", "against", "measured", "baseline", "ratio", "target", "reached"}};
	for (const figure &each : figures) {
		const auto ratio = each.ratio();
		const auto reached = each.reached();
		rows.push_back({each.what, each.beside, with_spread(each.measured, each.in),
				each.beside.empty() ? "" : with_spread(each.baseline, each.in),
				ratio ? fmt::format("{:.2f} x", *ratio) : "",
				each.goal
					? fmt::format("at {} {}", each.goal->side == target::at_most ? "most" : "least",
						      limit_text(*each.goal, each.in))
					: "",
				reached ? (*reached ? "yes" : "NO") : ""});
	}
	return pathlab::format_table(rows, 2);
}

} // namespace pm::bench
