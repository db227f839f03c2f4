// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/changes.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

namespace pm::report {

namespace {

std::string signed_words(unit in, double value) { return (value < 0 ? "-" : "+") + in_words(in, std::abs(value)); }

std::string machine_difference(const json &before, const json &after)
{
	std::string words;
	for (const char *field : {"processor", "processors", "memory", "kernel"}) {
		const json a = before.at("machine").value(field, json{}), b = after.at("machine").value(field, json{});
		if (a != b)
			words += fmt::format("{}{} {} and {}", words.empty() ? "" : ", ", field, a.dump(), b.dump());
	}
	return words;
}

std::size_t count_if(const std::vector<changed_figure> &figures, bool (*is)(const changed_figure &))
{
	return static_cast<std::size_t>(std::count_if(figures.begin(), figures.end(), is));
}

} // namespace

std::size_t comparison_of_results::worse() const
{
	return count_if(figures, [](const changed_figure &each) { return each.worse(); });
}
std::size_t comparison_of_results::better() const
{
	return count_if(figures, [](const changed_figure &each) { return each.better(); });
}
std::size_t comparison_of_results::unjudged() const
{
	return count_if(figures, [](const changed_figure &each) { return !each.by.judged; });
}

std::string comparison_of_results::in_one_sentence() const
{
	if (figures.empty())
		return fmt::format("{} and {} have no figure in common: nothing can be compared.", before, after);
	std::string words = fmt::format(
		"Of {} figures that {} and {} have in common, {} got worse beyond their noise and {} better",
		figures.size(), before, after, worse(), better());
	if (unjudged())
		words += fmt::format("; {} cannot be judged, for want of three runs", unjudged());
	if (only_before + only_after)
		words += fmt::format("; {} points are only in one of the two", only_before + only_after);
	if (!elsewhere.empty())
		words += fmt::format("; they were not measured on the same machine ({})", elsewhere);
	return words + '.';
}

comparison_of_results compare_results(const results &before, const results &after)
{
	comparison_of_results all{.before = before.name,
				  .after = after.name,
				  .figures = {},
				  .before_points = points_of(before),
				  .after_points = points_of(after),
				  .elsewhere = machine_difference(before.data, after.data)};
	std::map<std::string, const point *> earlier;
	for (const point &each : all.before_points)
		earlier[each.key()] = &each;
	std::map<const figure *, std::vector<std::vector<double>>> samples; // of both, for the typical scatter
	for (const point &now : all.after_points) {
		const auto then = earlier.find(now.key());
		if (then == earlier.end()) {
			++all.only_after;
			continue;
		}
		for (const figure &what : figures_of(now.of)) {
			const auto a = then->second->values(what.key), b = now.values(what.key);
			if (a.empty() || b.empty())
				continue;
			all.figures.push_back({then->second, &now, &what, {}});
			samples[&what].push_back(a);
			samples[&what].push_back(b);
		}
		earlier.erase(then);
	}
	all.only_before = earlier.size();
	for (changed_figure &each : all.figures)
		each.by = difference_of(each.before->values(each.what->key), each.after->values(each.what->key),
					{.typical = typical_scatter(samples[each.what]),
					 .resolution = each.what->resolution,
					 .comparisons = all.figures.size()});
	return all;
}

std::string change_in_words(const changed_figure &of)
{
	const double level = std::abs(of.by.before.median);
	if (of.what->in == unit::share || level == 0)
		return fmt::format("{} ({}..{})", signed_words(of.what->in, of.by.shift),
				   signed_words(of.what->in, of.by.low), signed_words(of.what->in, of.by.high));
	return fmt::format("{:+.1f} % ({:+.1f}..{:+.1f} %)", 100 * of.by.shift / level, 100 * of.by.low / level,
			   100 * of.by.high / level);
}

json to_json(const comparison_of_results &all)
{
	json list = json::array();
	for (const changed_figure &each : all.figures) {
		const auto spread = [](const summary &s) {
			return json{{"n", s.n}, {"median", s.median}, {"min", s.least}, {"max", s.most}};
		};
		list.push_back({{"point", each.after->key()},
				{"figure", each.what->key},
				{"before", spread(each.by.before)},
				{"after", spread(each.by.after)},
				{"shift",
				 {{"median", each.by.shift},
				  {"low", each.by.low},
				  {"high", each.by.high},
				  {"confidence", each.by.confidence}}},
				{"verdict", !each.by.judged ? "too few runs"
					    : each.worse()  ? "worse"
					    : each.better() ? "better"
							    : "within noise"}});
	}
	return {{"before", all.before}, {"after", all.after},     {"figures", list},
		{"worse", all.worse()}, {"better", all.better()}, {"unjudged", all.unjudged()}};
}

} // namespace pm::report
