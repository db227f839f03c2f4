// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the kernel's verifier has said, as far as it is for people.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

namespace pm::bpf {

inline constexpr const char *verifier_statistics = "processed ";

// Of a program that it took.
[[nodiscard]] inline std::uint32_t processed_instructions(const std::string &log)
{
	const auto at = log.find(verifier_statistics);
	return at == std::string::npos ? 0
				       : static_cast<std::uint32_t>(std::strtoul(log.c_str() + at + 10, nullptr, 10));
}

// The last line, of a program that it refused: what is wrong. Statistics follow it.
[[nodiscard]] inline std::string last_words(const std::string &log)
{
	std::string last, line;
	std::istringstream lines{log.c_str()};
	while (std::getline(lines, line)) {
		const auto begins_with = [&](const char *word) { return line.rfind(word, 0) == 0; };
		if (!line.empty() && !begins_with(verifier_statistics) && !begins_with("verification time") &&
		    !begins_with("stack depth") && !begins_with("subprog "))
			last = line;
	}
	return last;
}

} // namespace pm::bpf
