// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A real browser without a screen, Chromium, told what to do over its debugging pipe: opens a page at a size, runs script
// in it, takes pictures, and notes what went wrong and what it fetched.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/types.h>

namespace pm::test {

using nlohmann::json;

class browser {
public:
	[[nodiscard]] static std::unique_ptr<browser> start(); // null: there is no chromium, or it does not start
	browser(const browser &) = delete;
	~browser();

	struct look {
		int width = 1280, height = 900;
		bool dark = false;
		bool paper = false; // as it is printed
	};
	// Whether the page was loaded within 30 seconds.
	[[nodiscard]] bool open(const std::string &file, const look &as);
	[[nodiscard]] json evaluate(const std::string &expression);
	// Of the element that the selector finds, or of the whole page.
	void screenshot(const std::string &file, const std::string &selector = "");
	void print(const std::string &file); // as PDF

	// Of the page that is open: exceptions and messages of errors; addresses other than its own that it asked for.
	[[nodiscard]] std::vector<std::string> errors() const;
	[[nodiscard]] std::vector<std::string> fetched() const;

private:
	browser() = default;
	json call(const std::string &method, const json &parameters = json::object());
	bool read_message(json &message, double seconds);

	pid_t pid_ = -1;
	int to_ = -1, from_ = -1, next_ = 1;
	std::string profile_, session_, buffer_, address_;
	std::vector<json> events_;
};

} // namespace pm::test
