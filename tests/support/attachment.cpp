// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/attachment.hpp"

#include <csignal>
#include <filesystem>

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pm::test {

namespace {

constexpr const char *kept_at = "/sys/fs/bpf", *folder = "/sys/fs/bpf/pathlab";

// Between fork and exec: only what is safe in a child of a process with threads.
[[noreturn]] void become(char *const *arguments, int where, int out, int err)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (setns(where, CLONE_NEWNET) == 0)
		execv(arguments[0], arguments);
	_exit(127);
}

} // namespace

said pathlab(const netns &where, const words &arguments, const words &as)
{
	const temporary_folder files;
	words command = as;
	command.emplace_back(PATHLAB_PROGRAM);
	command.insert(command.end(), arguments.begin(), arguments.end());
	std::vector<char *> pointers;
	for (const std::string &word : command)
		pointers.push_back(const_cast<char *>(word.c_str()));
	pointers.push_back(nullptr);
	const auto create = [&](const char *name) {
		return descriptor(open(files.path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	};
	const descriptor out = create("out"), err = create("err");
	const pid_t child = fork();
	if (child == 0)
		become(pointers.data(), where.fd(), out.get(), err.get());
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		throw std::runtime_error("cannot run pathlab");
	return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), content_of(files.path("out")),
		content_of(files.path("err"))};
}

void mount_bpf()
{
	struct statfs of{};
	if (statfs(kept_at, &of) == 0 && of.f_type == BPF_FS_MAGIC)
		return;
	if (mount("bpf", kept_at, "bpf", 0, nullptr) != 0)
		throw std::runtime_error("cannot mount a file system of type bpf");
}

std::vector<std::string> kept()
{
	std::vector<std::string> names;
	std::error_code wrong;
	for (const auto &each : std::filesystem::directory_iterator(folder, wrong))
		names.push_back(each.path().filename());
	return names;
}

void detach_all()
{
	std::error_code wrong;
	for (const auto &each : std::filesystem::directory_iterator(folder, wrong))
		std::filesystem::remove_all(each.path(), wrong);
}

attachment::attachment(const netns &where, const words &arguments) : where_(where)
{
	words all{"attach", "-j"};
	all.insert(all.end(), arguments.begin(), arguments.end());
	const said answer = pathlab(where, all);
	if (answer.status != 0)
		throw std::runtime_error("not attached: " + answer.err);
	name_ = nlohmann::json::parse(answer.out).at("name").get<std::string>();
}

attachment::~attachment() { (void)pathlab(where_, {"detach", name_}); }

nlohmann::json attachments(const netns &where)
{
	const said answer = pathlab(where, {"status", "-j"});
	if (answer.status == 1 && answer.err.find("no path manager of pathlab serves") != std::string::npos)
		return nlohmann::json::array();
	if (answer.status != 0)
		throw std::runtime_error("no status: " + answer.err);
	return nlohmann::json::parse(answer.out).at("attachments");
}

nlohmann::json attachment::status() const
{
	for (const auto &each : attachments(where_))
		if (each.at("name") == name_)
			return each;
	return nullptr;
}

std::uint64_t attachment::figure(const std::string &name) const
{
	return status().at(nlohmann::json::json_pointer(name)).get<std::uint64_t>();
}

} // namespace pm::test
