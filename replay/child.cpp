// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/child.hpp"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-netlink/family.hpp"
#include "replay/clock.hpp"

namespace pm::replay {

namespace {

// Between fork and exec: only what is safe in a child of a process with threads.
[[noreturn]] void become(char *const *arguments, pid_t parent, std::optional<unsigned> cpu, int null)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); // the parent died before that
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (cpu)
		stay_on_cpu(*cpu);
	execv(arguments[0], arguments);
	_exit(127);
}

} // namespace

expected<child> child::start(const std::vector<std::string> &command, std::optional<unsigned> cpu)
{
	if (access(command[0].c_str(), X_OK) != 0)
		return fail_errno(fmt::format("cannot run {}", command[0]));
	std::vector<char *> arguments;
	for (const std::string &argument : command)
		arguments.push_back(const_cast<char *>(argument.c_str()));
	arguments.push_back(nullptr);
	const descriptor null{open("/dev/null", O_RDWR | O_CLOEXEC)};
	if (!null)
		return fail_errno("cannot open /dev/null");
	if (cpu)
		stay_on_cpu(sending_cpu); // reads the processors that we may use, before the child shares this memory
	const pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return fail_errno(fmt::format("cannot start {}", command[0]));
	if (pid == 0)
		become(arguments.data(), parent, cpu, null.get());
	descriptor handle{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
	child made{pid, std::move(handle)};
	if (!made.handle_)
		return fail_errno("cannot get a handle of a child process (pidfd_open)");
	return made;
}

child::child(child &&other) noexcept : pid_(std::exchange(other.pid_, -1)), handle_(std::move(other.handle_)) {}

child::~child()
{
	if (pid_ < 0)
		return;
	kill(pid_, SIGKILL);
	waitpid(pid_, nullptr, 0);
}

bool child::alive() const noexcept
{
	siginfo_t state{};
	return waitid(P_PID, static_cast<id_t>(pid_), &state, WEXITED | WNOHANG | WNOWAIT) == 0 && state.si_pid == 0;
}

void child::pause() const noexcept { kill(pid_, SIGSTOP); }
void child::resume() const noexcept { kill(pid_, SIGCONT); }

std::uint64_t child::memory_kib() const
{
	std::ifstream status{fmt::format("/proc/{}/status", pid_)};
	for (std::string line; std::getline(status, line);)
		if (line.starts_with("VmRSS:"))
			return std::strtoull(line.c_str() + 6, nullptr, 10);
	return 0;
}

std::uint64_t child::cpu_ns() const noexcept
{
	std::ifstream statistics{fmt::format("/proc/{}/schedstat", pid_)};
	std::uint64_t ns = 0;
	statistics >> ns;
	return ns;
}

expected<descriptor> child::socket_in_group(std::uint32_t group) const
{
	std::error_code ignored;
	for (const auto &entry : std::filesystem::directory_iterator{fmt::format("/proc/{}/fd", pid_), ignored}) {
		const int number = std::atoi(entry.path().filename().c_str());
		descriptor copy{static_cast<int>(syscall(SYS_pidfd_getfd, handle_.get(), number, 0))};
		if (!copy && errno == EPERM)
			return fail(
				"cannot look into the sockets of a child process: run as root, or with CAP_SYS_PTRACE");
		if (copy && netlink::is_member(copy.get(), group))
			return copy;
	}
	return descriptor{};
}

} // namespace pm::replay
