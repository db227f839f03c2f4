// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/pictures.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/drawing.hpp"
#include "report/selection.hpp"

namespace pm::report {

namespace {

std::string runs_in_words(const point &one)
{
	return one.excluded.empty() ? fmt::format("{}", one.runs.size())
				    : fmt::format("{} ({} excluded)", one.runs.size(), one.excluded.size());
}

// One row for each point: the backend, what `about` says of it, these figures, and how many runs.
template <class About>
table table_of(const std::string &caption, const selection &of, const char *what, About &&about,
	       std::initializer_list<const char *> figures)
{
	table all{.caption = caption, .head = {"backend", what}, .rows = {}};
	for (const char *key : figures)
		all.head.push_back(of.empty() ? key : figure_of(of.front()->of, key).title);
	all.head.push_back("runs");
	for (const std::string &backend : backends_of(of))
		for (const point *each : of_backend(of, backend)) {
			std::vector<std::string> row{each == of_backend(of, backend).front() ? backend : "",
						     about(*each)};
			for (const char *key : figures)
				row.push_back(each->in_words(key));
			row.push_back(runs_in_words(*each));
			all.rows.push_back(std::move(row));
		}
	return all;
}

std::string rate_of(const point &one) { return in_words(unit::per_second, one.rate()); }
std::string load_of(const point &one) { return one.load_in_words(); }

// x by the point, y the share of events lost with its spread. Curves that lie upon each other are moved apart a little.
template <class X>
std::vector<curve> loss_curves(const selection &of, X &&x)
{
	std::vector<curve> curves;
	const auto backends = backends_of(of);
	for (std::size_t i = 0; i < backends.size(); ++i) {
		curve line{.backend = backends[i], .with = "yerrorlines", .rows = {}, .labels = {}};
		const double aside = std::pow(1.025,
					      static_cast<double>(i) - static_cast<double>(backends.size() - 1) / 2);
		for (const point *each : of_backend(of, backends[i])) {
			const summary lost = each->figure("lost_share");
			line.rows.push_back({x(*each) * aside, lost.median, lost.least, lost.most});
		}
		std::sort(line.rows.begin(), line.rows.end());
		curves.push_back(std::move(line));
	}
	return curves;
}

// Linear about 0, logarithmic above 0.1 %: nothing lost is on the axis, and a little is seen too.
std::vector<std::string> loss_axis()
{
	return {"set nonlinear y via asinh(y*1000) inverse sinh(y)/1000", "set yrange [-0.0002:1.3]",
		"set ytics ('0' 0, '0.1 %%' 0.001, '1 %%' 0.01, '10 %%' 0.1, '100 %%' 1)"};
}

std::string no_runs_of(const char *scenario, const char *but)
{
	return fmt::format("there is no run of the scenario {} {}", scenario, but);
}

void add_nothing(section &to, const char *name, const std::string &why)
{
	if (to.pictures.empty())
		to.pictures.push_back({.name = name, .title = to.title, .left_out = why});
}

} // namespace

section loss_against_rate(const std::vector<point> &points)
{
	section all{.id = "loss", .title = "Loss against rate"};
	all.paragraphs = {
		"The share of the events about real connections that never reached the policy, by new connections per "
		"second: median, and the least and the most of the runs. The backends none and kernel get no events "
		"and "
		"can lose none; what they are missing in paths is in the table."};
	for (const std::string &place : places_of(points, part::stress)) {
		const selection family = largest_family(select(points, part::stress, place, "steady"));
		const selection heard = with_values(family, "lost_share");
		if (heard.empty())
			continue;
		plot what{.name = "loss-" + place,
			  .title = "Events lost against new connections per second, " + place_in_words(place),
			  .x = "New connections per second",
			  .y = "Events lost",
			  .settings = loss_axis(),
			  .curves = loss_curves(heard, [](const point &one) { return one.rate(); })};
		add(what.settings, log_axis('x', heard, [](const point &one) { return one.rate(); }));
		all.pictures.push_back(to_draw(what, backends_of(heard)));
		all.tables.push_back(table_of("Loss against rate, " + place_in_words(place), family, "offered", rate_of,
					      {"lost_share", "missing_at_end", "failed_share", "made_per_s", "rate_share"}));
		add_line(all.command, command_for(family));
	}
	add_nothing(all, "loss", no_runs_of("steady", "of a backend that gets events"));
	return all;
}

section latency_distribution(const std::vector<point> &points)
{
	section all{.id = "latency", .title = "Time to the second path"};
	all.paragraphs = {
		"From the packet by which the server confirms a connection to the SYN of its second path, as timed "
		"on "
		"the links. A curve rises to the time within which the share below it of all connections had begun "
		"their second path, and ends at the share that had their paths when they were closed: for the others "
		"it "
		"never came. All runs of the load together, both scales logarithmic. Percentiles are known to 1.6 % "
		"(the upper end of a bucket), the latest one exactly."};
	for (const std::string &place : places_of(points, part::stress)) {
		const selection timed = with_values(largest_family(select(points, part::stress, place, "steady")),
						    "join_p50");
		selection drawn_already;
		for (const which rate : {which::lowest_rate, which::highest_rate}) {
			const selection chosen = side_by_side(timed, rate);
			if (chosen.empty() || chosen == drawn_already)
				continue;
			drawn_already = chosen;
			const bool full = chosen.front()->at_full_rate();
			plot what{.name = fmt::format("latency-{}-{}", place,
						      full ? "max" : fmt::format("{:.0f}", chosen.front()->rate())),
				  .title = fmt::format("Time to the second path at {}, {}", rates_in_words(chosen),
						       place_in_words(place)),
				  .x = "Share of all connections",
				  .y = "At most",
				  .settings = percentile_axes(percentile_curves(chosen)),
				  .curves = percentile_curves(chosen)};
			std::vector<std::string> legend;
			for (const curve &each : what.curves)
				legend.push_back(each.backend);
			all.pictures.push_back(to_draw(what, legend));
			if (legend.empty())
				all.pictures.back().left_out = "no second path came";
			all.tables.push_back(percentile_table(what.title, chosen));
			add_line(all.command, command_for(chosen));
		}
	}
	add_nothing(all, "latency", no_runs_of("steady", "whose second paths were timed"));
	return all;
}

section paths_over_time(const std::vector<point> &points)
{
	section all{.id = "overrun", .title = "Paths around an overrun"};
	all.paragraphs = {
		"How many of the open connections lack a path that the policy wants for them, while a burst overruns "
		"the "
		"path manager and afterwards. The bold line is the run in the middle of its repetitions, the thin ones "
		"are the others. A line that reaches the right edge goes on."};
	for (const std::string &place : places_of(points, part::stress)) {
		const selection chosen = side_by_side(largest_family(select(points, part::stress, place, "overrun")),
						      which::highest_rate);
		const auto curves = timeline_curves(chosen);
		if (curves.empty())
			continue;
		plot what{.name = "overrun-" + place,
			  .title = "Connections that lack a path, " + place_in_words(place),
			  .x = "Milliseconds since the beginning",
			  .y = "Open connections that lack a path",
			  .settings = {"set yrange [0:*]",
				       fmt::format("set xrange [0:{:g}]", std::max(1.0, timeline_end(chosen))),
				       "set rmargin 4"},
			  .curves = curves};
		all.pictures.push_back(to_draw(what, backends_of(chosen)));
		all.tables.push_back(table_of("Around an overrun, " + place_in_words(place), chosen, "load", load_of,
					      {"lost_share", "missing_at_end", "without_path", "recovery"}));
		all.tables.back().left = 2;
		add_line(all.command, command_for(chosen));
	}
	add_nothing(all, "overrun", no_runs_of("overrun", "with a timeline"));
	return all;
}

section cost_per_connection(const std::vector<point> &points)
{
	section all{.id = "cost", .title = "Cost per connection"};
	all.paragraphs = {"Processor time for each connection made: of the whole machine, all processors (pale), and "
			  "in it that of "
			  "the path manager's process (solid; none and kernel have no process, and bpf's work is the "
			  "kernel's). Of the kernel's own work for a path manager, the table has what the machine "
			  "needed beyond none, less "
			  "the path manager's process; of the rate, the share of what none reached."};
	for (const std::string &place : places_of(points, part::stress)) {
		const selection chosen =
			side_by_side(with_values(largest_family(select(points, part::stress, place, "steady")),
						 "cpu_machine"),
				     which::lowest_rate);
		if (chosen.empty())
			continue;
		const auto backends = backends_of(chosen);
		plot what{.name = "cost-" + place,
			  .title = fmt::format("Processor time per connection at {}, {}", rates_in_words(chosen),
					       place_in_words(place)),
			  .x = "Microseconds of processor time per connection",
			  .y = "",
			  .settings = bar_axes(backends),
			  .curves = bar_curves(chosen)};
		double most = 0;
		for (const point *each : chosen)
			most = std::max(most, each->figure("cpu_machine").median / 1e3);
		add(what.settings, room_for_labels(most, 0.75));
		what.narrow_settings = room_for_labels(most, 0.42);
		what.wide_height = 90 + 44 * static_cast<int>(backends.size());
		what.narrow_height = 80 + 40 * static_cast<int>(backends.size());
		what.left_margin = 14;
		all.pictures.push_back(to_draw(what, {}));
		all.tables.push_back(table_of("Cost, " + place_in_words(place), chosen, "load", load_of,
					      {"cpu_path_manager", "cpu_machine", "cpu_kernel", "rate_share", "memory"}));
		all.tables.back().left = 2;
		add_line(all.command, command_for(chosen));
	}
	add_nothing(all, "cost", no_runs_of("steady", "with processor times"));
	return all;
}

section loss_against_buffer(const std::vector<point> &points)
{
	section all{.id = "buffer", .title = "Loss against the size of the buffer"};
	all.paragraphs = {"The same burst into receive buffers of different sizes. `pathlab advise` fits its model to "
			  "such figures."};
	const auto size = [](const point &one) {
		const auto bytes = one.load.value("buffer_bytes", json{}); // null: of which nothing is said
		return bytes.is_number() ? bytes.get<double>() / 1024 : 0.0;
	};
	for (const std::string &place : places_of(points, part::stress)) {
		const selection chosen = with_values(largest_family(select(points, part::stress, place, "buffer"),
								    "buffer_bytes"),
						     "lost_share");
		selection sized;
		std::copy_if(chosen.begin(), chosen.end(), std::back_inserter(sized),
			     [&](const point *each) { return size(*each) > 0; });
		if (sized.empty())
			continue;
		plot what{.name = "buffer-" + place,
			  .title = "Events lost against the size of the buffer, " + place_in_words(place),
			  .x = "Receive buffer in KiB",
			  .y = "Events lost",
			  .settings = loss_axis(),
			  .curves = loss_curves(sized, size)};
		add(what.settings, log_axis('x', sized, size));
		all.pictures.push_back(to_draw(what, backends_of(sized)));
		all.tables.push_back(table_of("Loss against the buffer, " + place_in_words(place), sized, "load",
					      load_of, {"lost_share", "missing_at_end", "recovery"}));
		all.tables.back().left = 2;
		add_line(all.command, command_for(sized));
	}
	add_nothing(all, "buffer", no_runs_of("buffer", "of a backend that gets events"));
	return all;
}

section loss_of_replays(const std::vector<point> &points, const std::string &comparison)
{
	section all{.id = "replay", .title = "Replayed events"};
	all.paragraphs = {
		"Events of recorded and of generated connections, sent through each backend faster than "
		"connections can be "
		"made. The picture has the recording; the bursts are in the table. Times in a machine that is "
		"emulated are not a processor's."};
	selection replayed;
	for (const std::string &place : places_of(points, part::replay)) {
		const selection everything = select(points, part::replay, place, "");
		const selection recorded = with_values(select(points, part::replay, place, "recorded"), "lost_share");
		if (!recorded.empty()) {
			const auto rate = [](const point &one) { return one.rate(); };
			plot what{.name = "replay-" + place,
				  .title = "Events lost against events per second, " + place_in_words(place),
				  .x = "Events per second",
				  .y = "Events lost",
				  .settings = loss_axis(),
				  .curves = loss_curves(recorded, rate)};
			add(what.settings, log_axis('x', recorded, rate));
			all.pictures.push_back(to_draw(what, backends_of(recorded)));
		}
		all.tables.push_back(
			table_of("Replays, " + place_in_words(place), everything, "trace, pace",
				 [](const point &one) { return one.scenario + ", " + one.load_in_words(); },
				 {"lost_share", "tail_delivered", "decisions_missing", "latency_p50", "latency_p99",
				  "cpu_per_event"}));
		all.tables.back().left = 2;
		replayed.insert(replayed.end(), everything.begin(), everything.end());
	}
	if (!replayed.empty())
		all.command = command_for_replays(comparison);
	add_nothing(all, "replay", "nothing was replayed");
	return all;
}

} // namespace pm::report
