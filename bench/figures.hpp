// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a benchmark yields: figures, each with its baseline and, where there is one, the target it should reach. A
// figure is reported, never asserted. Measures nothing itself; see topics.hpp.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "replay/histogram.hpp"

namespace pm::bench {

enum class unit { nanoseconds, per_second, bytes, mebibytes, count };

struct target {
	double limit = 0;
	enum { at_most, at_least } side = at_most;
	bool of_ratio = false; // to the baseline; otherwise of what was measured
};

struct figure {
	std::string what;
	unit in = unit::nanoseconds;
	replay::summary measured;
	std::string beside; // what the baseline is; empty: there is none
	replay::summary baseline;
	std::optional<target> goal;

	[[nodiscard]] std::optional<double> ratio() const; // of the medians
	[[nodiscard]] std::optional<bool> reached() const;
	[[nodiscard]] nlohmann::json to_json() const;
};

// What a topic is given, and what it fills. Figures that it had before it failed are kept.
struct job {
	bool quick = false;
	std::function<void(double share, const std::string &what)> tell;
	std::vector<figure> figures;
};

[[nodiscard]] std::string figures_table(const std::vector<figure> &figures);

} // namespace pm::bench
