// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The stress part of a comparison again in the virtual machine of `./run vm`, whose kernel carries every backend. It is the
// same command in there, with a folder of its own inside the results.
#pragma once

#include <string>
#include <vector>

#include "pm-netlink/error.hpp"

namespace pm::replay {

struct machine_run {
	std::string no_machine; // why there was none; empty: there was
	std::string failure; // what went wrong in it; empty: nothing
};

// Runs `pathlab ARGUMENTS -o FOLDER` in it. What it says goes to FOLDER/log. Ends with us, when we are interrupted.
[[nodiscard]] machine_run run_in_machine(const std::vector<std::string> &arguments, const std::string &folder,
					 unsigned timeout_seconds);

} // namespace pm::replay
