// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Runs as JSON (the file results.json) and as a table for people. docs/results.md describes both.
#pragma once

#include <string>
#include <vector>

#include "replay/runner.hpp"

namespace pm::pathlab {

inline constexpr int results_schema = 1;

// {schema, machine, versions, runs, summary}
[[nodiscard]] nlohmann::json results_json(const std::vector<replay::run_report> &runs);
[[nodiscard]] std::string results_table(const std::vector<replay::run_report> &runs);

} // namespace pm::pathlab
