// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A document as one HTML file that needs nothing else: style, pictures and the raw data are in it, no script, no network.
#pragma once

#include <string>

#include "report/document.hpp"

namespace pm::report {

[[nodiscard]] std::string to_html(const document &all);

} // namespace pm::report
