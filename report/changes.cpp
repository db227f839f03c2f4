// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/changes.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/selection.hpp"

namespace pm::report {

namespace {

std::string signed_words(unit in, double value) { return (value < 0 ? "-" : "+") + in_words(in, std::abs(value)); }

// Of the machines, and of the virtual ones where both have one, what is not the same.
std::string machine_difference(const json &before, const json &after)
{
	std::string words;
	for (const json::json_pointer &machine : {"/machine"_json_pointer, "/virtual_machine/machine"_json_pointer}) {
		const json then = before.value(machine, json{}), now = after.value(machine, json{});
		if (!then.is_object() || !now.is_object())
			continue;
		for (const char *field : {"processor", "processors", "memory", "kernel"})
			if (const json a = then.value(field, json{}), b = now.value(field, json{}); a != b)
				words += fmt::format("{}{}{} {} and {}", words.empty() ? "" : ", ",
						     machine == "/machine"_json_pointer ? "" : "the virtual one's ",
						     field, a.dump(), b.dump());
	}
	return words;
}

// By which method the results were measured: those without a number are older than the second.
double method_of(const json &data) { return number_at(data, "/versions/method").value_or(1); }

std::size_t count_if(const std::vector<changed_figure> &figures, bool (*is)(const changed_figure &))
{
	return static_cast<std::size_t>(std::count_if(figures.begin(), figures.end(), is));
}

// Whether it is among the parts of a comparison that were left out together: "step, buffer".
bool is_among(const json &parts, const std::string &one)
{
	return parts.is_string() &&
	       fmt::format(", {},", parts.get<std::string>()).find(", " + one + ',') != std::string::npos;
}

// Of the results, why this backend, or this part of it, is not there; empty if nothing is said.
std::string reason_of(const results &in, const point &of)
{
	const std::string missing = of.of == part::replay ? "replays" : of.scenario;
	std::string why;
	for (const json &each : in.data.at("left_out")) {
		if (each.at("backend") != of.backend || each.at("place") != of.place)
			continue;
		if (is_of_all(each))
			return each.at("reason");
		if (is_among(each.at("part"), missing))
			why = each.at("reason");
	}
	return why;
}

void add_gone(comparison_of_results &to, const point &of, const std::string &what, const std::string &why = {})
{
	const std::string load = fmt::format("{}, {}", of.scenario, of.load_in_full());
	for (gone &each : to.vanished)
		if (each.backend == of.backend && each.place == of.place && each.what == what && each.why == why) {
			each.loads.push_back(load);
			return;
		}
	to.vanished.push_back({of.backend, of.place, what, why, {load}});
}

// A figure of a point that both have, with runs that count: to compare, or gone.
void add_figure(comparison_of_results &to, const point &then, const point &now, const figure &what)
{
	const auto a = then.values(what.key), b = now.values(what.key);
	if (a.empty())
		return;
	if (b.empty())
		add_gone(to, now, fmt::format("no “{}”", what.title));
	else
		to.figures.push_back({&then, &now, &what, {}});
}

// That no run of an overrun counts because none lost anything, though it was all there, is no fault of the backend's.
bool is_without_loss(const point &of)
{
	return of.of == part::stress && of.scenario == "overrun" &&
	       std::all_of(of.excluded.begin(), of.excluded.end(), [](const json *run) {
		       const auto emitted = number_at(*run, "/events/emitted");
		       return emitted && emitted == number_at(*run, "/events/delivered") &&
			      number_at(*run, "/connections/failed") == 0.0;
	       });
}

// A figure that ended, and does so no more, is gone however few runs there are; of one or two, that all of them have to say.
void add_what_never_ends(comparison_of_results &to)
{
	for (const changed_figure &each : to.figures)
		if (const double now = each.by.judged ? each.by.after.median : each.by.after.least;
		    std::isfinite(each.by.before.median) && !std::isfinite(now))
			add_gone(to, *each.after, fmt::format("“{}” never", each.what->title));
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

std::string gone::in_words() const
{
	return fmt::format("{} of {} {} ({}){}", what, backend, place_in_words(place), fmt::join(loads, "; "),
			   why.empty() ? "" : ", because " + why);
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
	if (only_after)
		words += fmt::format("; {} points are only in {}", only_after, after);
	for (const gone &each : vanished)
		words += fmt::format("; {} has {}", after, each.in_words());
	for (const point *each : not_overrun)
		words += fmt::format(
			"; {} lost nothing in any overrun {} in {}, so how long it takes to recover is not known",
			each->backend, place_in_words(each->place), after);
	if (!elsewhere.empty())
		words += fmt::format("; they were not measured on the same machine ({})", elsewhere);
	if (methods.first != methods.second)
		words += fmt::format(
			"; they were measured by methods {:g} and {:g}, so that a difference may be one of measuring",
			methods.first, methods.second);
	return words + '.';
}

std::string comparison_of_results::what_got_worse() const
{
	std::vector<std::string> all;
	for (const changed_figure &each : figures)
		if (each.worse())
			all.push_back(fmt::format("{} of {} {} ({}, {}): {}", each.what->title, each.after->backend,
						  place_in_words(each.after->place), each.after->scenario,
						  each.after->load_in_full(), change_in_words(each)));
	return in_one_sentence() + (all.empty() ? "" : " ") + fmt::format("{}", fmt::join(all, "; "));
}

comparison_of_results compare_results(const results &before, const results &after)
{
	comparison_of_results all{.before = before.name,
				  .after = after.name,
				  .figures = {},
				  .before_points = points_of(before),
				  .after_points = points_of(after),
				  .elsewhere = machine_difference(before.data, after.data),
				  .methods = {method_of(before.data), method_of(after.data)}};
	std::map<std::string, const point *> later;
	for (const point &each : all.after_points)
		later[each.key()] = &each;
	all.only_after = later.size();
	for (const point &then : all.before_points) {
		const auto now = later.find(then.key());
		all.only_after -= now != later.end();
		if (then.runs.empty())
			continue;
		if (now == later.end())
			add_gone(all, then, "no run", reason_of(after, then));
		else if (now->second->runs.empty() && is_without_loss(*now->second))
			all.not_overrun.push_back(now->second);
		else if (now->second->runs.empty())
			add_gone(all, then, "only excluded runs",
				 now->second->excluded.front()->value("excluded", std::string{}));
		else
			for (const figure &what : figures_of(then.of))
				if (!what.derived && then.compares_by(what))
					add_figure(all, then, *now->second, what);
	}
	std::map<const figure *, std::vector<std::vector<double>>> samples; // of both, for the typical scatter
	for (const changed_figure &each : all.figures)
		for (const point *of : {each.before, each.after})
			samples[each.what].push_back(of->values(each.what->key));
	for (changed_figure &each : all.figures)
		each.by = difference_of(each.before->values(each.what->key), each.after->values(each.what->key),
					{.typical = typical_scatter(samples[each.what]),
					 .resolution = std::max(each.before->resolution(each.what->key),
								each.after->resolution(each.what->key)),
					 .comparisons = all.figures.size()});
	add_what_never_ends(all);
	return all;
}

std::string change_in_words(const changed_figure &of)
{
	const double level = std::abs(of.by.before.median);
	if (!std::isfinite(of.by.after.median) || !std::isfinite(level))
		return fmt::format("{} instead of {}", in_words(of.what->in, of.by.after.median),
				   in_words(of.what->in, level));
	const bool bounded = std::isfinite(of.by.low) && std::isfinite(of.by.high);
	if (of.what->in == unit::share || level == 0 || !bounded)
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
	json vanished = json::array();
	for (const gone &each : all.vanished)
		vanished.push_back({{"backend", each.backend},
				    {"place", each.place},
				    {"what", each.what},
				    {"why", each.why},
				    {"loads", each.loads}});
	return {{"before", all.before},
		{"after", all.after},
		{"figures", list},
		{"gone", vanished},
		{"worse", all.worse()},
		{"better", all.better()},
		{"unjudged", all.unjudged()},
		{"machines_differ", all.elsewhere},
		{"methods", all.methods},
		{"in_words", all.in_one_sentence()}};
}

} // namespace pm::report
