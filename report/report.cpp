// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "replay/interrupt.hpp"
#include "replay/whole_file.hpp"
#include "report/accounts.hpp"
#include "report/answer.hpp"
#include "report/drawing.hpp"
#include "report/html.hpp"
#include "report/markdown.hpp"
#include "report/pictures.hpp"
#include "report/selection.hpp"

namespace pm::report {

namespace {

std::string text_at(const json &object, const char *name)
{
	const json value = object.value(name, json{});
	return value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump();
}

std::string command_of(const results &all)
{
	return all.data.contains("command") ? text_at(all.data, "command") : std::string{};
}

std::vector<std::string> warnings_of(const results &all, const std::vector<point> &points)
{
	std::vector<std::string> warnings;
	if (!all.data.value("complete", json(true)).is_boolean() || !all.data.value("complete", true)) {
		const json why = all.data.value("failure", json{});
		const std::string command = command_of(all);
		warnings.push_back(fmt::format("This is not all{}: it {}. What was finished until then is here{}.",
					       command.empty() ? "" : fmt::format(" of `{}`", command),
					       why.is_string() && !why.get<std::string>().empty()
						       ? "ended early, because " + why.get<std::string>()
						       : std::string{"was interrupted"},
					       command.starts_with("pathlab compare")
						       ? "; with --resume, and the same folder, it goes on"
						       : ""));
	}
	std::size_t excluded = 0, kept = 0;
	for (const point &each : points) {
		excluded += each.excluded.size();
		kept += each.runs.size();
	}
	if (excluded)
		warnings.push_back(fmt::format(
			"{} of {} runs are excluded from every figure; the table under “Left out” says which and why.",
			excluded, excluded + kept));
	return warnings;
}

section left_out(const results &all, const std::vector<point> &points)
{
	section one{.id = "left-out", .title = "Left out"};
	table backends{.caption = "Backends that did not run, or not in all",
		       .head = {"backends", "where", "why"},
		       .rows = {},
		       .left = 3};
	for (const absence &each : absences_of(all))
		backends.rows.push_back(
			{fmt::format("{}", fmt::join(each.backends, ", ")), place_in_words(each.place), each.reason});
	table runs{.caption = "Runs that are in no figure",
		   .head = {"backend", "scenario", "where", "load", "repetition", "why"},
		   .rows = {},
		   .left = 6};
	for (const point &each : points)
		for (const json *run : each.excluded)
			runs.rows.push_back({each.backend, each.scenario, place_in_words(each.place),
					     each.load_in_words(), text_at(*run, "repetition"),
					     text_at(*run, "excluded")});
	if (backends.rows.empty() && runs.rows.empty())
		one.paragraphs = {"Nothing: every backend ran, and every run counts."};
	for (table *each : {&backends, &runs})
		if (!each->rows.empty())
			one.tables.push_back(std::move(*each));
	return one;
}

// Of every scenario, every figure; also those that no picture shows.
section all_points(const std::vector<point> &points)
{
	section one{.id = "points", .title = "Every point"};
	one.paragraphs = {"Medians of the runs, with the least and the most where they differ."};
	for (const std::string &place : places_of(points, part::stress)) {
		std::vector<std::string> scenarios;
		for (const point *each : select(points, part::stress, place, ""))
			if (std::find(scenarios.begin(), scenarios.end(), each->scenario) == scenarios.end())
				scenarios.push_back(each->scenario);
		for (const std::string &scenario : scenarios) {
			table rows{.caption = fmt::format("{}, {}", scenario, place_in_words(place)),
				   .head = {"load", "backend"},
				   .rows = {},
				   .left = 2,
				   .folded = true};
			for (const figure &what : figures_of(part::stress))
				rows.head.push_back(what.title);
			rows.head.push_back("runs");
			for (const point *each : select(points, part::stress, place, scenario)) {
				std::vector<std::string> row{each->load_in_words(), each->backend};
				for (const figure &what : figures_of(part::stress))
					row.push_back(each->in_words(what.key));
				row.push_back(fmt::format("{}", each->runs.size()));
				rows.rows.push_back(std::move(row));
			}
			one.tables.push_back(std::move(rows));
		}
	}
	return one;
}

table facts(const std::string &caption, const json &object)
{
	table rows{.caption = caption, .head = {"", ""}, .rows = {}, .left = 2};
	for (const auto &[name, value] : object.items())
		rows.rows.push_back({name, value.is_string() ? value.get<std::string>()
					   : value.is_null() ? "not installed"
							     : value.dump()});
	return rows;
}

// Of measuring with and without the probes in turn: of the pairs' ratios where there are any, else of the medians.
std::string cost_of_probes(const json &probes, const std::string &place)
{
	const std::string where = place_in_words(place);
	if (!probes.is_object())
		return fmt::format("What counting events costs was not measured {} in this run (pathlab stress "
				   "--probe-cost N does).",
				   where);
	const double with = probes.at("rate_with"), without = probes.at("rate_without");
	const json ratio = probes.value("ratio", json{}), share = probes.value("cost_share", json{});
	std::string cost, spread = "its spread was not recorded";
	if (ratio.is_object()) { // with to without
		const auto words = [&](const char *of) { return in_words(unit::share, 1 - ratio.at(of).get<double>()); };
		cost = words("median");
		const bool surely = ratio.value("low", json{}).is_number() && ratio.value("high", json{}).is_number();
		spread = surely ? fmt::format("{} to {} with 95 % confidence", words("high"), words("low"))
				: fmt::format("{} to {}", words("max"), words("min"));
	} else {
		cost = in_words(unit::share, share.is_number() ? share.get<double>()
					     : without > 0     ? 1 - with / without
							       : 0);
	}
	std::string how = fmt::format("{}/s with it, {}/s without", in_words(unit::count, with),
				      in_words(unit::count, without));
	if (probes.value("repetitions", json{}).is_number())
		how += fmt::format(", {} times each", text_at(probes, "repetitions"));
	if (probes.value("backend", json{}).is_string())
		how += ", through " + text_at(probes, "backend");
	return fmt::format("Counting events costs {} of the rate of new connections {} ({}): {}. Below 0 it is less than "
			   "what the rate scatters.",
			   cost, where, spread, how);
}

section method(const results &all)
{
	section one{.id = "method", .title = "Method, machine, versions"};
	one.paragraphs = {"Real connections are opened between two network namespaces, open loop: each when it is due, "
			  "whether or not those "
			  "before it are done, while a path manager of one backend runs. Backends take turns, and each "
			  "repetition begins with "
			  "another one. Events emitted are events delivered and events lost at a named stage, or the "
			  "run is excluded. Figures "
			  "are medians over the runs; excluded runs are in none.",
			  "A replay sends recorded or generated events through the real netlink group into an "
			  "unmodified reader, or into the "
			  "BPF program by test runs. docs/measuring.md has the details, docs/report.md what “beyond "
			  "noise” means, "
			  "docs/results.md the fields of results.json."};
	one.paragraphs.push_back("A socket listens to the events to count them, beside every path manager. For kernel and bpf, "
				 "which do without, they are only sent because of it: each of the two is cheaper where nobody "
				 "listens.");
	one.paragraphs.push_back(cost_of_probes(all.data.value("probes", json{}), "host"));
	if (const json machine = all.data.value("virtual_machine", json{}); machine.is_object())
		one.paragraphs.push_back(cost_of_probes(machine.value("probes", json{}), "vm"));
	one.tables = {facts("Machine", all.data.at("machine")), facts("Versions", all.data.at("versions"))};
	one.command = command_of(all);
	return one;
}

section raw_data(const results &all)
{
	section one{.id = "raw", .title = "Raw data"};
	one.paragraphs = {"Every run, with its histogram and timeline, is in results.json beside this file, and in "
			  "this page: the text of "
			  "its element “results”. Its runs:"};
	table rows{.caption = "Stress runs",
		   .head = {"scenario", "backend", "where", "rate/s", "rep.", "emitted", "delivered", "lost", "made",
			    "missing", "excluded"},
		   .rows = {},
		   .left = 3,
		   .folded = true};
	for (const json &run : all.data.at("stress")) {
		const json events = run.value("events", json{});
		std::string lost = "-";
		if (events.is_object()) {
			const json stages = events.value("lost", json::object());
			std::uint64_t sum = 0;
			for (const auto &[stage, count] : stages.items())
				sum += count.get<std::uint64_t>();
			lost = fmt::format("{}", sum);
		}
		rows.rows.push_back({run.at("scenario"), run.at("backend"), run.at("place"),
				     run.at("load").at("rate").dump(), run.at("repetition").dump(),
				     events.is_object() ? text_at(events, "emitted") : "-",
				     events.is_object() ? text_at(events, "delivered") : "-", lost,
				     run.at("connections").at("made").dump(), text_at(run.at("missing"), "at_end"),
				     run.value("excluded", json{}).is_null() ? "" : text_at(run, "excluded")});
	}
	one.tables = {std::move(rows)};
	return one;
}

// The largest changes beyond noise first, then the rest in their order.
section what_changed(const comparison_of_results &by, std::size_t number)
{
	section one{.id = fmt::format("changes-{}", number), .title = fmt::format("Changes since {}", by.before)};
	one.paragraphs = {by.in_one_sentence(), "A change is the median of all differences between a run before and a "
						"run after, with the interval that holds it with "
						"95 % confidence (with the whole range of the differences, 90 %, for "
						"three runs). It is beyond noise if the interval leaves "
						"out 0 and the change is larger than the scatter of the runs explains "
						"for so many figures, and than 5 %."};
	const auto row = [](const changed_figure &each) {
		const unit in = each.what->in;
		const char *verdict = !each.by.judged ? "too few runs"
				      : each.worse()  ? "worse"
				      : each.better() ? "better"
						      : "within noise";
		return std::vector<std::string>{fmt::format("{}, {}, {}", each.after->scenario,
							    each.after->load_in_words(),
							    place_in_words(each.after->place)),
						each.after->backend,
						each.what->title,
						verdict,
						change_in_words(each),
						in_words(in, each.by.before.median),
						in_words(in, each.by.after.median)};
	};
	table beyond{.caption = "Beyond noise",
		     .head = {"load", "backend", "figure", "verdict", "change (interval)", "before", "after"},
		     .rows = {},
		     .left = 4};
	table within = beyond;
	within.caption = "Everything else";
	within.folded = true;
	for (const changed_figure &each : by.figures)
		(each.by.beyond_noise ? beyond : within).rows.push_back(row(each));
	table vanished{.caption = fmt::format("Gone since {}", by.before),
		       .head = {"backend", "where", "what", "why", "loads"},
		       .rows = {},
		       .left = 5};
	for (const gone &each : by.vanished)
		vanished.rows.push_back({each.backend, place_in_words(each.place), each.what, each.why,
					 fmt::format("{}", fmt::join(each.loads, "; "))});
	for (table *each : {&vanished, &beyond, &within})
		if (!each->rows.empty())
			one.tables.push_back(std::move(*each));
	one.command = fmt::format("pathlab report {} {}", by.before, by.after);
	return one;
}

} // namespace

std::vector<std::string> make_answer(const results &of) { return answer(of, points_of(of)); }

document make_document(const std::vector<results> &runs)
{
	const results &shown = runs.back();
	const auto points = points_of(shown);
	document all{.title = "MPTCP path managers: what each costs",
		     .subtitle = fmt::format("{}, {}; measured {}", text_at(shown.data.at("machine"), "processor"),
					     text_at(shown.data.at("machine"), "kernel"),
					     text_at(shown.data, "started")),
		     .answer = answer(shown, points),
		     .warnings = warnings_of(shown, points),
		     .sections = {},
		     .raw = shown.data.dump()};
	for (std::size_t i = 0; i + 1 < runs.size(); ++i) {
		const auto by = compare_results(runs[i], shown);
		all.sections.push_back(what_changed(by, i + 1));
	}
	for (section each :
	     {loss_against_rate(points), latency_distribution(points), paths_over_time(points),
	      cost_per_connection(points), loss_against_buffer(points), loss_of_replays(points, command_of(shown)),
	      where_events_went(points), left_out(shown, points), all_points(points), method(shown), raw_data(shown)})
		all.sections.push_back(std::move(each));
	return all;
}

expected<void> write_report(const std::vector<results> &runs, const std::string &folder, const std::string &pictures)
{
	const bool was_interrupted = replay::interrupted(); // then this is the report of what there is
	document all = make_document(runs);
	draw_pictures(all);
	if (replay::interrupted() && !was_interrupted) // so was gnuplot; what was written before is better
		return replay::fail_interrupted();
	for (const section &in : all.sections)
		for (const picture &each : in.pictures) {
			if (pictures.empty() || each.wide.empty())
				continue;
			if (auto written = replay::write_whole(fmt::format("{}/{}.svg", pictures, each.name), as_file(each));
			    !written)
				return written;
		}
	if (auto written = replay::write_whole(folder + "/report.html", to_html(all)); !written)
		return written;
	return replay::write_whole(folder + "/summary.md", to_markdown(all));
}

} // namespace pm::report
