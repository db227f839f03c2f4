// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/compare_machine.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/interrupt.hpp"

#ifndef PATHLAB_SOURCE
#define PATHLAB_SOURCE ""
#endif

namespace pm::replay {

namespace fs = std::filesystem;

namespace {

constexpr int kernel_problem = 124, no_machine = 125;

std::string source_folder()
{
	const char *given = std::getenv("PATHLAB_SOURCE");
	return given && *given ? given : PATHLAB_SOURCE;
}

std::string last_line_of(const std::string &file)
{
	std::ifstream stream{file};
	std::string last;
	for (std::string line; std::getline(stream, line);)
		if (line.find_first_not_of(" \t\r") != std::string::npos)
			last = line;
	return last;
}

pid_t start(const std::vector<std::string> &command, const std::string &log)
{
	std::vector<char *> words;
	for (const std::string &word : command)
		words.push_back(const_cast<char *>(word.c_str()));
	words.push_back(nullptr);
	const pid_t pid = fork();
	if (pid > 0)
		setpgid(pid, pid); // whoever is first
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0); // what it starts is ended with it
	const int in = open("/dev/null", O_RDONLY),
		  out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
	if (in >= 0 && out >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
		execv(words[0], words.data());
	_exit(no_machine);
}

// Its exit status; what it started is gone when this returns. When we are interrupted it has ten seconds to tidy up, in which
// it is left alone.
int wait_for(pid_t pid)
{
	int status = 0;
	for (unsigned tenths = 0; waitpid(pid, &status, WNOHANG) == 0;) {
		poll(nullptr, 0, 100);
		if (!interrupted())
			continue;
		if (tenths++ == 0)
			kill(-pid, SIGTERM);
		else if (tenths > 100)
			kill(-pid, SIGKILL);
	}
	kill(-pid, SIGKILL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

machine_run run_in_machine(const std::vector<std::string> &arguments, const std::string &folder,
			   unsigned timeout_seconds)
{
	const std::string source = source_folder(), program = source + "/run";
	std::error_code error;
	if (source.empty() || access(program.c_str(), X_OK) != 0)
		return {.no_machine = fmt::format(
				"{} is not there; PATHLAB_SOURCE names the folder of the sources, whose `run` makes it",
				program),
			.failure = ""};
	const fs::path here = fs::read_symlink("/proc/self/exe", error);
	const fs::path out = fs::absolute(folder, error);
	fs::create_directories(out, error);
	if (error)
		return {.no_machine = fmt::format("the folder {} cannot be made: {}", out.string(), error.message()),
			.failure = ""};
	std::vector<std::string> command{program, "vm", "--share", out, "--timeout", std::to_string(timeout_seconds),
					 "--",    here};
	command.insert(command.end(), arguments.begin(), arguments.end());
	command.insert(command.end(), {"-o", out});
	const std::string log = out / "log";
	const pid_t pid = start(command, log);
	if (pid < 0)
		return {.no_machine = fmt::format("it cannot be started: {}", std::strerror(errno)), .failure = ""};
	switch (const int status = wait_for(pid); status) {
	case 0: return {};
	case no_machine:
		return {.no_machine = fmt::format("it did not run or took too long: {} (all of it: {})",
						  last_line_of(log), log),
			.failure = ""};
	case kernel_problem:
		return {.no_machine = "",
			.failure = fmt::format("the kernel in the virtual machine reported a problem: see {}", log)};
	default:
		return {.no_machine = "",
			.failure = fmt::format("the comparison in the virtual machine failed ({}): {}", status,
					       last_line_of(log))};
	}
}

} // namespace pm::replay
