// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Replays as JSON (of the schema of results.json) and as a table for people. docs/results.md describes both.
#pragma once

#include <string>
#include <vector>

#include "replay/runner.hpp"

namespace pm::pathlab {

// {schema, machine, versions, replay, summary}
[[nodiscard]] nlohmann::json results_json(const std::vector<replay::run_report> &runs);
[[nodiscard]] std::string results_table(const std::vector<replay::run_report> &runs);

// Of replays as JSON: medians with their spread over the repetitions of each trace, pace, place and backend, in the order
// of the runs.
[[nodiscard]] nlohmann::json summarize_runs(const nlohmann::json &replays);
[[nodiscard]] std::string results_table(const nlohmann::json &summary);

} // namespace pm::pathlab
