// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// From runs to points: what runs have in common except the repetition, and the figures of it. Excluded runs belong to
// their point and are counted there, but are in none of its figures.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "report/results_file.hpp"
#include "report/statistics.hpp"

namespace pm::report {

enum class unit { share, duration, count, per_second, kib };
enum class part { replay, stress };

// A figure of a run: a number with a unit, of which less (or more) is better.
struct figure {
	const char *key, *title;
	unit in;
	bool less_is_better;
	double resolution; // smaller changes mean nothing
};

[[nodiscard]] std::span<const figure> figures_of(part of);
// The figure with this key, which exists.
[[nodiscard]] const figure &figure_of(part of, std::string_view key);
// Nothing where this run does not have it: a backend without events, a latency that was not captured.
[[nodiscard]] std::optional<double> value_of(part of, std::string_view key, const json &run);
[[nodiscard]] std::string in_words(unit in, double value);
// A median; with least and most where they differ. "-" without values.
[[nodiscard]] std::string in_words(unit in, const summary &values);

struct point {
	part of = part::stress;
	std::string place{}, scenario{}, backend{}, policy{}; // scenario: of a replay, its trace
	json load{};        // of a replay, {"pace": words}
	std::vector<const json *> runs{};               // of results::data, which has to outlive it
	std::vector<const json *> excluded{};

	[[nodiscard]] std::vector<double> values(std::string_view key) const;
	[[nodiscard]] summary figure(std::string_view key) const { return summarize(values(key)); }
	[[nodiscard]] bool at_full_rate() const; // without a schedule
	[[nodiscard]] double rate() const; // connections/s; of a replay, events/s as they were sent
	[[nodiscard]] std::string load_in_words() const;
	// The same in another results file is the same point.
	[[nodiscard]] std::string key() const;
};

// In the order of their first runs.
[[nodiscard]] std::vector<point> points_of(const results &all);

// All values of all runs' latency histograms together: (upper end, count), rising.
[[nodiscard]] std::vector<std::pair<double, double>> latency_histogram(const point &at);

} // namespace pm::report
