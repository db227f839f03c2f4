// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Two results of the same points held against each other: each figure's change with its spread, and whether it is beyond
// noise, see statistics.hpp for the rule; and what cannot be held against anything, because it is gone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/points.hpp"

namespace pm::report {

struct changed_figure {
	const point *before, *after;
	const figure *what;
	change by;
	[[nodiscard]] bool worse() const { return by.beyond_noise && (by.shift > 0) == what->less_is_better; }
	[[nodiscard]] bool better() const { return by.beyond_noise && !worse(); }
};

// What there was of a backend, and is no more: for these loads, the same of each.
struct gone {
	std::string backend{}, place{};
	std::string what{}; // no run, no figure, or one that never came
	std::string why{};  // as far as it is known
	std::vector<std::string> loads{};
	[[nodiscard]] std::string in_words() const;
};

struct comparison_of_results {
	std::string before{}, after{}; // their names
	std::vector<changed_figure> figures{}; // in the order of `before`; point to the points below
	std::vector<point> before_points{}, after_points{};
	std::size_t only_after = 0; // points that `before` does not have
	std::vector<gone> vanished{};
	std::vector<const point *> not_overrun{}; // of overruns, whose runs do not count because nothing was lost
	std::string elsewhere{}; // how the machines differ, in words; empty if they do not
	std::pair<double, double> methods{}; // by which they were measured (`versions.method`)

	[[nodiscard]] std::size_t worse() const;
	[[nodiscard]] std::size_t better() const;
	[[nodiscard]] std::size_t unjudged() const; // fewer than three runs
	[[nodiscard]] std::string in_one_sentence() const;
	// Nothing got worse, and nothing is gone.
	[[nodiscard]] bool holds() const { return !figures.empty() && worse() == 0 && vanished.empty(); }
	// in_one_sentence(), with each figure that got worse by name.
	[[nodiscard]] std::string what_got_worse() const;
};

// Both have to outlive it.
[[nodiscard]] comparison_of_results compare_results(const results &before, const results &after);

// What of a figure changed by how much: "+12 % (+8 %..+17 %)", or, where it was 0 or is a share, as a difference.
[[nodiscard]] std::string change_in_words(const changed_figure &of);

[[nodiscard]] json to_json(const comparison_of_results &all);

} // namespace pm::report
