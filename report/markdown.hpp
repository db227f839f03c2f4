// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A document as a Markdown summary: the answer and the tables; for the pictures it names the page that has them.
#pragma once

#include <string>

#include "report/document.hpp"

namespace pm::report {

[[nodiscard]] std::string to_markdown(const document &all);

} // namespace pm::report
