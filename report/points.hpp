// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// From runs to points: what runs have in common except the repetition, and the figures of it. Excluded runs belong to
// their point and are counted there, but are in none of its figures. What a run waited for in vain is no missing value: it
// took for ever, and is in the medians as that.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "report/results_file.hpp"
#include "report/statistics.hpp"

namespace pm::report {

enum class unit { share, duration, count, per_second, kib };
enum class part { replay, stress };

inline constexpr double never = HUGE_VAL;

// A figure of a run: a number with a unit, of which less (or more) is better.
struct figure {
	const char *key, *title;
	unit in;
	bool less_is_better;
	double resolution; // smaller changes mean nothing
	bool derived = false; // from other figures, also of the backend none: not compared on its own
};

[[nodiscard]] std::span<const figure> figures_of(part of);
// The figure with this key, which exists.
[[nodiscard]] const figure &figure_of(part of, std::string_view key);
[[nodiscard]] std::string in_words(unit in, double value);
// A median; with least and most where they differ. "-" without values.
[[nodiscard]] std::string in_words(unit in, const summary &values);

struct point {
	part of = part::stress;
	std::string place{}, scenario{}, backend{}, policy{}; // scenario: of a replay, its trace
	json load{}; // of a replay, {"pace": words}
	std::string options{}; // of a replay, those of its comparison: how much there is to replay, and the buffers
	std::vector<std::string> settings{}; // of the policy, NAME=VALUE, by name
	std::vector<const json *> runs{};               // of results::data, which has to outlive it
	std::vector<const json *> excluded{};
	// Medians of the backend none at the same place under the same load: connections/s and processor time for each.
	std::optional<double> rate_of_none{}, cpu_of_none{};

	// Of the runs that have it: not of a backend without events, nor a latency that was not captured.
	[[nodiscard]] std::vector<double> values(std::string_view key) const;
	[[nodiscard]] summary figure(std::string_view key) const { return summarize(values(key)); }
	// Below this a change of the figure means nothing: its own resolution, or the steps in which the runs could tell it.
	[[nodiscard]] double resolution(std::string_view key) const;
	[[nodiscard]] std::string in_words(std::string_view key) const; // "-" without values; how often never
	[[nodiscard]] bool at_full_rate() const; // without a schedule
	// Not by the latency of events that are replayed as fast as they can be sent: it is how long the queue became.
	[[nodiscard]] bool compares_by(const report::figure &what) const;
	[[nodiscard]] double rate() const; // connections/s; of a replay, events/s as they were sent
	[[nodiscard]] std::string load_in_words() const;
	[[nodiscard]] std::string load_in_full() const; // also what is mostly the same: how many, for how long
	[[nodiscard]] std::string policy_in_words() const; // with its settings
	// The same in another results file is the same point.
	[[nodiscard]] std::string key() const { return key_of_load() + ' ' + backend; }
	[[nodiscard]] std::string key_of_load() const; // of whatever backend
};

// In the order of their first runs.
[[nodiscard]] std::vector<point> points_of(const results &all);

// When the second paths of a point's connections began, all runs together. Some connections are captured, and stand for
// all; those that lacked a path at their end are taken to have never had a second one.
struct second_paths {
	std::vector<std::pair<double, double>> histogram{}; // (upper end in ns, connections), rising
	double connections = 0, came = 0; // made; that had their paths at their end
	double captured = 0;
	double latest = 0; // of those that were captured, in ns

	// The time within which this share of all connections had its second path begun; or never.
	[[nodiscard]] double percentile(double share) const;
};
[[nodiscard]] second_paths second_paths_of(const point &at);

} // namespace pm::report
