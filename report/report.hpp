// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// From results to a report: report.html and summary.md. The last results are what is shown; those before them are what it
// is compared with.
#pragma once

#include <string>
#include <vector>

#include "report/changes.hpp"
#include "report/document.hpp"

namespace pm::report {

// The three sentences alone.
[[nodiscard]] std::vector<std::string> make_answer(const results &of);

// At least one. Its pictures are still to be drawn: draw_pictures().
[[nodiscard]] document make_document(const std::vector<results> &runs);

// Writes report.html and summary.md into the folder, which exists; and each picture as NAME.svg into another one, if it is
// named. What was there before stays if that fails.
[[nodiscard]] expected<void> write_report(const std::vector<results> &runs, const std::string &folder,
					  const std::string &pictures = {});

} // namespace pm::report
