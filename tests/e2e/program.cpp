// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/e2e/program.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PATHLAB_PROGRAM
#define PATHLAB_PROGRAM "pathlab/pathlab"
#endif
#ifndef PATHLAB_DAEMON
#define PATHLAB_DAEMON "pm-netlink/pm-netlinkd"
#endif
#ifndef PATHLAB_SOURCE
#define PATHLAB_SOURCE "."
#endif

namespace pm::e2e {

namespace fs = std::filesystem;

namespace {

constexpr unsigned nobody = 65534;

std::string from_environment(const char *name, const char *otherwise)
{
	const char *value = std::getenv(name);
	return fs::absolute(value && *value ? value : otherwise);
}

// What a program is started with, made before fork(): behind it, only system calls.
struct launch {
	std::vector<char *> arguments;
	int program = -1; // opened by us: the folders above it may be closed to nobody
	int in = -1, out = -1, err = -1;
	const char *folder = nullptr;
	bool as_nobody = false;

	[[noreturn]] void go() const
	{
		prctl(PR_SET_PDEATHSIG, SIGINT); // nothing outlives the test
		::signal(SIGHUP, SIG_DFL); // also where nohup runs the tests
		setpgid(0, 0);
		const bool moved = dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2 && chdir(folder) == 0;
		const bool dropped = !as_nobody ||
				     (setgroups(0, nullptr) == 0 && setresgid(nobody, nobody, nobody) == 0 &&
				      setresuid(nobody, nobody, nobody) == 0);
		if (moved && dropped)
			fexecve(program, arguments.data(), environ);
		_exit(127);
	}
};

std::string content_of(int file)
{
	std::string text(static_cast<std::size_t>(lseek(file, 0, SEEK_END)), '\0');
	return pread(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) ? text : std::string{};
}

// Name and parent of a process; no name if it has ended.
std::pair<std::string, pid_t> process_called(const fs::path &proc)
{
	const std::string text = read_file(proc / "stat"); // 123 (name) S 1 ...
	const auto begin = text.find('('), end = text.rfind(')');
	if (begin == std::string::npos || end == std::string::npos || text[end + 2] == 'Z')
		return {};
	return {text.substr(begin + 1, end - begin - 1), std::atoi(text.c_str() + end + 4)};
}

// Named namespaces, and what pathlab has made in the folder for temporary files. Not what tests make there, or a virtual machine
// that runs meanwhile.
std::set<std::string> left_behind()
{
	std::set<std::string> all = named_namespaces();
	for (const auto &entry : fs::directory_iterator{fs::temp_directory_path()}) {
		const std::string name = entry.path().filename();
		const auto is = [&](const char *kind) { return name.starts_with(kind); };
		if (is("pathlab-") && !is("pathlab-test-") && !is("pathlab-browser-") && !is("pathlab-vm."))
			all.insert(entry.path());
	}
	return all;
}

// In a mount namespace, whose mounts nobody else sees.
words with_mounts(const std::string &mounts, const words &command)
{
	words all{"/usr/bin/unshare", "--mount", "sh", "-c", mounts + " && exec \"$@\"", "sh"};
	all.insert(all.end(), command.begin(), command.end());
	return all;
}

} // namespace

std::string program() { return from_environment("PATHLAB", PATHLAB_PROGRAM); }
std::string daemon_program() { return from_environment("PATHLAB_DAEMON", PATHLAB_DAEMON); }
std::string source_file(const std::string &name)
{
	return from_environment("PATHLAB_SOURCE", PATHLAB_SOURCE) + '/' + name;
}

void sleep_ms(unsigned ms) { poll(nullptr, 0, static_cast<int>(ms)); }

std::string read_file(const std::string &path)
{
	std::ifstream file{path};
	std::stringstream all;
	all << file.rdbuf();
	return all.str();
}

words lines_of(const std::string &text)
{
	words lines;
	std::istringstream all{text};
	for (std::string line; std::getline(all, line);)
		lines.push_back(line);
	return lines;
}

std::set<std::string> named_namespaces()
{
	std::set<std::string> names;
	std::error_code none;
	for (const auto &entry : fs::directory_iterator{"/run/netns", none})
		names.insert(entry.path().filename());
	return names;
}

std::string malformed_frames(const std::string &trace)
{
	FILE *tshark = popen(("tshark -V -r '" + trace + "' 2>/dev/null").c_str(), "r");
	char line[1024];
	std::string wrong;
	unsigned messages = 0, named = 0;
	while (tshark && std::fgets(line, sizeof line, tshark)) {
		messages += std::strstr(line, "[Protocols in frame: netlink:genl:data]") != nullptr;
		named += std::strstr(line, "(mptcp_pm)") != nullptr;
		if (std::strstr(line, "Malformed") || std::strstr(line, "Expert Info"))
			wrong += line;
	}
	if (!tshark || pclose(tshark) != 0)
		wrong += "tshark failed\n";
	if (messages == 0 || named != messages)
		wrong += std::to_string(named) + " of " + std::to_string(messages) + " events are named as such\n";
	return wrong;
}

// ---- processes ----

process::process(const words &wanted, const std::string &folder, const manner &how)
{
	words command = how.mounts.empty() ? wanted : with_mounts(how.mounts, wanted);
	launch it;
	for (std::string &word : command)
		it.arguments.push_back(word.data());
	it.arguments.push_back(nullptr);
	it.program = open(command[0].c_str(), O_RDONLY | O_CLOEXEC);
	if (it.program < 0)
		ADD_FAILURE() << "cannot run " << command[0] << ": " << std::strerror(errno);
	out_ = how.out.empty() ? memfd_create("stdout", MFD_CLOEXEC) : open(how.out.c_str(), O_RDWR | O_CLOEXEC);
	err_ = memfd_create("stderr", MFD_CLOEXEC);
	it.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	it.out = out_;
	it.err = err_;
	it.folder = folder.c_str();
	it.as_nobody = how.as_nobody;
	pid_ = fork();
	if (pid_ == 0)
		it.go();
	setpgid(pid_, pid_); // whoever is first
	handle_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
	close(it.program);
	close(it.in);
}

process::~process()
{
	if (pid_ > 0) {
		signal(SIGKILL);
		waitpid(pid_, nullptr, 0);
	}
	for (const int file : {handle_, out_, err_})
		close(file);
}

bool process::runs() const
{
	pollfd ended{handle_, POLLIN, 0};
	return poll(&ended, 1, 0) == 0;
}

pid_t process::child_called(const std::string &name) const
{
	for (const auto &entry : fs::directory_iterator{"/proc"})
		if (process_called(entry.path()) == std::pair{name, pid_})
			return std::atoi(entry.path().filename().c_str());
	return 0;
}

void process::signal(int number) const { kill(pid_, number); }
void process::signal_group(int number) const { kill(-pid_, number); }

outcome process::wait(unsigned seconds)
{
	pollfd ended{handle_, POLLIN, 0};
	if (poll(&ended, 1, static_cast<int>(seconds * 1000)) != 1) {
		ADD_FAILURE() << "it still runs after " << seconds << " seconds";
		signal(SIGKILL);
	}
	int status = 0;
	waitpid(pid_, &status, 0);
	pid_ = -1;
	return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), content_of(out_), content_of(err_)};
}

void adopt_orphans() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

void expect_no_orphans(double seconds)
{
	const auto gone = [] {
		pid_t ended;
		while ((ended = waitpid(-1, nullptr, WNOHANG)) > 0)
			;
		return ended < 0 && errno == ECHILD;
	};
	if (await(seconds, gone))
		return;
	for (const auto &entry : fs::directory_iterator{"/proc"}) {
		const auto [name, parent] = process_called(entry.path());
		if (parent != getpid())
			continue;
		ADD_FAILURE() << "a process called " << name << " was left behind";
		kill(std::atoi(entry.path().filename().c_str()), SIGKILL);
	}
	EXPECT_TRUE(await(5, gone));
}

// ---- the fixture ----

void command::SetUp()
{
	before_ = left_behind();
	if (geteuid() != 0)
		GTEST_SKIP() << "these tests need root";
	adopt_orphans();
	std::string made = fs::temp_directory_path() / "pathlab-test-XXXXXX";
	ASSERT_NE(mkdtemp(made.data()), nullptr) << std::strerror(errno);
	folder_ = made;
	chmod(folder_.c_str(), 0777); // for nobody
}

void command::TearDown()
{
	expect_no_orphans();
	words stayed;
	for (const std::string &name : left_behind())
		if (!before_.count(name))
			stayed.push_back(name);
	EXPECT_EQ(stayed, words{}) << "network namespaces or temporary files were left behind";
	std::error_code ignored;
	if (!folder_.empty())
		fs::remove_all(folder_, ignored);
}

words command::files() const
{
	words all;
	for (const auto &entry : fs::recursive_directory_iterator{folder_})
		all.push_back(fs::relative(entry.path(), folder_));
	std::sort(all.begin(), all.end());
	return all;
}

outcome command::pathlab(const words &arguments, const manner &how) const
{
	words all{program()};
	all.insert(all.end(), arguments.begin(), arguments.end());
	return process{all, folder_, how}.wait();
}

std::string command::succeed(const words &arguments, const manner &how) const
{
	const outcome done = pathlab(arguments, how);
	EXPECT_EQ(done.status, 0) << done.err;
	EXPECT_EQ(done.err, "");
	return done.out;
}

void command::generate(const std::string &name, unsigned connections, const std::string &shape) const
{
	const std::string count = std::to_string(connections);
	succeed({"generate", "--shape", shape, "--connections", count, "--rate", count, "-o", name});
}

void command::write(const std::string &name, const std::string &content) const
{
	std::ofstream file{path(name), std::ios::binary};
	file << content;
	file.close();
	EXPECT_TRUE(file) << "cannot write " << name;
}

} // namespace pm::e2e
