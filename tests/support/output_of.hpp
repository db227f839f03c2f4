// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#pragma once

#include <cstdio>
#include <memory>
#include <string>

namespace pm::test {

// What a command of the shell says, in the network namespace of this thread.
inline std::string output_of(const char *command)
{
	const std::unique_ptr<FILE, int (*)(FILE *)> pipe(::popen(command, "r"), ::pclose);
	std::string text;
	for (int c; pipe && (c = std::fgetc(pipe.get())) != EOF;)
		text += static_cast<char>(c);
	return text;
}

} // namespace pm::test
