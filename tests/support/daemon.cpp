// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/daemon.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-netlink/status_socket.hpp"

namespace pm::test {

namespace fs = std::filesystem;

namespace {

constexpr double patience = 20;

// Between fork and exec: only what is safe in a child of a process with threads.
[[noreturn]] void become(char *const *arguments, pid_t parent, int where, int log)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); // the parent died before that
	cpu_set_t all;
	CPU_ZERO(&all);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
		CPU_SET(cpu, &all);
	sched_setaffinity(0, sizeof all, &all); // earlier tests may have bound this process to one processor
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (setns(where, CLONE_NEWNET) == 0)
		execv(arguments[0], arguments);
	_exit(127);
}

// Nobody may not see the folder of the build.
std::string copy_of_the_program(const temporary_folder &folder)
{
	const std::string copy = folder.path("pm-netlinkd");
	fs::copy_file(PATHLAB_DAEMON, copy, fs::copy_options::overwrite_existing);
	return copy;
}

words command_of(const temporary_folder &folder, const words &arguments, daemon_process::privileges allowed)
{
	words command{PATHLAB_DAEMON};
	if (allowed == daemon_process::privileges::only_net_admin)
		command = {"/usr/bin/setpriv",
			   "--reuid=65534",
			   "--regid=65534",
			   "--clear-groups",
			   "--pdeathsig=KILL", // a change of the user switches it off
			   "--inh-caps=-all,+net_admin",
			   "--ambient-caps=-all,+net_admin",
			   "--bounding-set=-all,+net_admin",
			   copy_of_the_program(folder)};
	command.insert(command.end(), arguments.begin(), arguments.end());
	command.insert(command.end(), {"--run-dir", folder.path()});
	return command;
}

} // namespace

temporary_folder::temporary_folder()
{
	char name[] = "/tmp/pathlab-test-XXXXXX";
	if (!mkdtemp(name) || chmod(name, 0755) != 0)
		throw std::runtime_error("cannot make a temporary folder");
	path_ = name;
}

temporary_folder::~temporary_folder()
{
	std::error_code ignored;
	fs::remove_all(path_, ignored);
}

void temporary_folder::write(const std::string &name, const std::string &content) const
{
	std::ofstream{path(name)} << content;
}

std::string content_of(const std::string &path)
{
	std::ifstream in{path};
	return {std::istreambuf_iterator<char>{in}, {}};
}

void run_in(const netns &where, const std::string &shell_command)
{
	must(in_namespace(where, [&]() -> expected<void> {
		return std::system(shell_command.c_str()) == 0 ? expected<void>{} : fail("failed: " + shell_command);
	}));
}

netlink::mib counter_in(const netns &where, const std::string &name)
{
	return must(in_namespace(where, [&]() -> expected<netlink::mib> { return netlink::mib(name); }));
}

daemon_process::daemon_process(const netns &where, const temporary_folder &folder, const words &arguments,
			       privileges allowed)
	: where_(where), folder_(folder.path())
{
	static unsigned number = 0;
	log_ = folder.path("daemon-" + std::to_string(++number) + ".log");
	const descriptor log{open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
	const words command = command_of(folder, arguments, allowed);
	std::vector<char *> pointers;
	for (const std::string &word : command)
		pointers.push_back(const_cast<char *>(word.c_str()));
	pointers.push_back(nullptr);
	const pid_t parent = getpid();
	pid_ = fork();
	if (pid_ == 0)
		become(pointers.data(), parent, where.fd(), log.get());
	if (pid_ < 0)
		throw std::runtime_error("cannot start " + command[0]);
}

daemon_process::~daemon_process() { kill_at_once(); }

void daemon_process::await_ready()
{
	const auto is_ready = [&] {
		if (!runs())
			return true;
		const auto answer = in_namespace(where_, [&] { return netlink::ask_status(folder_); });
		// Until it listens, another one that was killed may seem to.
		return answer && answer->at("pid") == pid_ && answer->at("resyncs").at("done") > 0;
	};
	if (!await(patience, is_ready) || !runs())
		throw std::runtime_error("pm-netlinkd did not get ready; it said: " + said());
}

bool daemon_process::runs() const noexcept
{
	siginfo_t state{};
	return pid_ > 0 && waitid(P_PID, static_cast<id_t>(pid_), &state, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       state.si_pid == 0;
}

void daemon_process::signal(int number) const noexcept
{
	if (pid_ > 0)
		kill(pid_, number);
}

int daemon_process::wait()
{
	if (pid_ < 0 || !await(patience, [&] { return !runs(); }))
		return -1;
	int status = 0;
	waitpid(std::exchange(pid_, -1), &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void daemon_process::kill_at_once()
{
	if (pid_ < 0)
		return;
	kill(pid_, SIGKILL);
	waitpid(std::exchange(pid_, -1), nullptr, 0);
}

void daemon_process::stop()
{
	signal(SIGTERM);
	if (const int code = wait(); code != 0)
		throw std::runtime_error("pm-netlinkd ended with " + std::to_string(code) + "; it said: " + said());
}

nlohmann::json daemon_process::status() const
{
	return must(in_namespace(where_, [&] { return netlink::ask_status(folder_); }));
}

std::uint64_t daemon_process::figure(const std::string &name) const
{
	return status().at(nlohmann::json::json_pointer(name)).get<std::uint64_t>();
}

std::string daemon_process::process_status(const std::string &field) const
{
	std::istringstream lines{content_of("/proc/" + std::to_string(pid_) + "/status")};
	for (std::string line; std::getline(lines, line);)
		if (line.rfind(field + ":\t", 0) == 0)
			return line.substr(field.size() + 2);
	return {};
}

std::uint64_t daemon_process::memory_kib() const { return std::strtoull(process_status("VmRSS").c_str(), nullptr, 10); }

void daemon_process::resync()
{
	const std::uint64_t before = figure("/resyncs/done");
	// One that is running already began before this was asked for.
	const std::uint64_t wanted = before + (status().at("resyncs").at("running").get<bool>() ? 2 : 1);
	signal(SIGUSR1);
	if (!await(patience, [&] { return figure("/resyncs/done") >= wanted; }))
		throw std::runtime_error("pm-netlinkd did not read the state back; it said: " + said());
}

} // namespace pm::test
