// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// results.json as docs/results.md describes it: read, and held against what it promises; written so that a full disk
// costs no earlier file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pm-netlink/error.hpp"

namespace pm::report {

using nlohmann::json;

inline constexpr const char *results_schema = "pathlab-results/2";

// What was read: of the schema, with every field that the reports look at, of the right type. A run whose sums do
// not close is marked as excluded here if whoever measured it did not.
struct results {
	std::string name; // as given on the command line
	json data;
};

// PATH is results.json or the folder that it is in. Fails with one sentence: what is wrong with which file.
[[nodiscard]] expected<results> read_results(const std::string &path);

// The same for what is at hand already.
[[nodiscard]] expected<results> check_results(const std::string &name, json data);

// A number in results, such as "/rate/made_per_s" of a run; nothing where it is missing, null or no number.
[[nodiscard]] std::optional<double> number_at(const json &in, const char *where);

// Whether an element of `left_out` is about all of the backend.
[[nodiscard]] bool is_of_all(const json &left_out);

// What `left_out` has: the backends at a place for which one reason holds. It says what of them it is about, unless all.
struct absence {
	std::vector<std::string> backends;
	std::string place, reason;
};
[[nodiscard]] std::vector<absence> absences_of(const results &all);

} // namespace pm::report
