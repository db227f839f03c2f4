// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/accounts.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "replay/stress_account.hpp"
#include "report/selection.hpp"

namespace pm::report {

namespace {

struct column {
	const char *title, *where;
};

constexpr column of_stress[] = {
	{"acted on", "/events/acted_on"},        {"commands", "/commands/sent"},
	{"accepted", "/commands/accepted"},      {"refused by the kernel", "/commands/refused"},
	{"paths expected", "/subflows/expected"}, {"up at the client", "/subflows/client"},
	{"at the server", "/subflows/server"},   {"missing at the end", "/subflows/missing"},
};

std::string events_of(part of) { return of == part::stress ? "/events" : ""; }

// Of all runs together; "-" unless each of them has it.
std::string sum_in_words(const point &of, const std::string &where)
{
	const json::json_pointer at{where};
	double sum = 0;
	for (const json *run : of.runs) {
		if (!run->contains(at) || !run->at(at).is_number())
			return "-";
		sum += run->at(at).get<double>();
	}
	return in_words(unit::count, sum);
}

// The stages that lost something.
std::vector<std::string> stages_of(const selection &of)
{
	std::vector<std::string> known{std::begin(replay::loss_stages), std::end(replay::loss_stages)}, used;
	for (const point *each : of) {
		const json::json_pointer at{events_of(each->of) + "/lost"};
		for (const json *run : each->runs) {
			const json lost = run->contains(at) ? run->at(at) : json::object();
			for (const auto &[stage, count] : lost.items()) {
				if (count.get<double>() > 0)
					used.push_back(stage);
				if (std::find(known.begin(), known.end(), stage) == known.end())
					known.push_back(stage);
			}
		}
	}
	std::erase_if(known, [&](const std::string &stage) {
		return std::find(used.begin(), used.end(), stage) == used.end();
	});
	return known;
}

table account_of(part of, const selection &points, const std::string &place)
{
	const auto lost_at = stages_of(points);
	table all{.caption = fmt::format("{} {}", of == part::stress ? "Real connections" : "Replays",
					 place_in_words(place)),
		  .head = {"load", "backend", "emitted", "delivered"},
		  .rows = {},
		  .left = 2};
	for (const std::string &stage : lost_at)
		all.head.push_back("lost: " + stage);
	if (of == part::stress)
		for (const column &each : of_stress)
			all.head.push_back(each.title);
	all.head.push_back("runs");
	const std::string events = events_of(of);
	for (const point *each : points) {
		std::vector<std::string> row{each->scenario + ", " + each->load_in_words(), each->backend,
					     sum_in_words(*each, events + "/emitted"),
					     sum_in_words(*each, events + "/delivered")};
		for (const std::string &stage : lost_at)
			row.push_back(sum_in_words(*each, events + "/lost/" + stage));
		if (of == part::stress)
			for (const column &one : of_stress)
				row.push_back(sum_in_words(*each, one.where));
		row.push_back(fmt::format("{}", each->runs.size()));
		all.rows.push_back(std::move(row));
	}
	return all;
}

} // namespace

section where_events_went(const std::vector<point> &points)
{
	section all{.id = "events", .title = "Where events went"};
	all.paragraphs = {"All runs of a load that count, added up: events emitted are events delivered and events "
			  "lost, at a stage that has a name (docs/measuring.md; a stage without a column lost none). A "
			  "dash: there is no such thing, or it cannot be seen. Paths are those beyond the first of each "
			  "connection."};
	for (const part of : {part::stress, part::replay})
		for (const std::string &place : places_of(points, of)) {
			selection counted = select(points, of, place, "");
			std::erase_if(counted, [](const point *each) { return each->runs.empty(); });
			if (!counted.empty())
				all.tables.push_back(account_of(of, counted, place));
		}
	if (all.tables.empty())
		all.paragraphs = {"There is no run that counts."};
	return all;
}

} // namespace pm::report
