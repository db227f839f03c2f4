// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Runs the command as a user does, and looks for what it leaves behind: files, processes, named network namespaces.
// What the command writes is not judged here.
#pragma once

#include <csignal>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/types.h>

namespace pm::e2e {

using words = std::vector<std::string>;

// The program under test; PATHLAB in the environment overrides where the build has put it.
[[nodiscard]] std::string program();
// The daemon under test, pm-netlinkd; PATHLAB_DAEMON in the environment overrides where the build has put it.
[[nodiscard]] std::string daemon_program();
// A file of the sources; PATHLAB_SOURCE in the environment overrides where they are.
[[nodiscard]] std::string source_file(const std::string &name);

struct outcome {
	int status = -1; // the exit code, or 128 + the signal that ended it
	std::string out, err;
};

// How a program is run, where that is not plainly.
struct manner {
	bool as_nobody = false;      // without any privilege
	std::string out;             // this file, instead of a captured stdout
	std::string mounts;          // shell commands, carried out before it in a mount namespace of their own
};

// A program that runs in a process group of its own, as a shell would have it.
class process {
public:
	process(const words &command, const std::string &folder, const manner &how = {});
	process(const process &) = delete;
	process &operator=(const process &) = delete;
	~process(); // kills it, if it still runs

	[[nodiscard]] pid_t pid() const { return pid_; }
	[[nodiscard]] bool runs() const;
	// The program that it has started itself and that has this name; 0 if there is none.
	[[nodiscard]] pid_t child_called(const std::string &name) const;
	void signal(int number) const;       // to the program alone
	void signal_group(int number) const; // to all that it started too, as Ctrl-C does
	[[nodiscard]] outcome wait(unsigned seconds = 150); // fails the test, and kills it, if it takes longer

private:
	pid_t pid_ = -1;
	int handle_ = -1, out_ = -1, err_ = -1;
};

// In an empty folder of its own; afterwards, nothing that was started still runs, and no namespace and no temporary file has come
// to stay.
class command : public testing::Test {
protected:
	void SetUp() override;
	void TearDown() override;

	[[nodiscard]] const std::string &folder() const { return folder_; }
	[[nodiscard]] std::string path(const std::string &name) const { return folder_ + '/' + name; }
	[[nodiscard]] words files() const; // all there are in the folder and below
	outcome pathlab(const words &arguments, const manner &how = {}) const;
	// The same; fails the test unless it exits 0 with nothing on stderr. Yields stdout.
	std::string succeed(const words &arguments, const manner &how = {}) const;
	void generate(const std::string &name, unsigned connections, const std::string &shape = "poisson") const;
	void write(const std::string &name, const std::string &content) const;

private:
	std::string folder_;
	std::set<std::string> before_; // what could be taken for something that was left behind
};

// From here on, what a program leaves running becomes this process's child, and does not escape.
void adopt_orphans();
// Fails the test unless all of them have ended within that time; kills them then.
void expect_no_orphans(double seconds = 0);

[[nodiscard]] std::set<std::string> named_namespaces();
[[nodiscard]] words lines_of(const std::string &text);
[[nodiscard]] std::string read_file(const std::string &path);
// What tshark, which has to be there, finds malformed in a trace, and where it does not name the path manager's family.
[[nodiscard]] std::string malformed_frames(const std::string &trace);
void sleep_ms(unsigned ms);

// Yields whether `condition` became true within so many seconds.
template <class Condition>
[[nodiscard]] bool await(double seconds, Condition &&condition)
{
	for (double waited = 0; !condition(); waited += 0.002) {
		if (waited > seconds)
			return false;
		sleep_ms(2);
	}
	return true;
}

} // namespace pm::e2e
