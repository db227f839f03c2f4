// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/attachment.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <ostream>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-netlink/policies.hpp"

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

unsigned number_of(int (*next)(__u32, __u32 *))
{
	unsigned number = 0;
	for (__u32 id = 0; next(id, &id) == 0;)
		++number;
	return number;
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

void expect_refused(const said &answer, const std::string &words, int status)
{
	EXPECT_EQ(answer.status, status) << answer.err;
	EXPECT_EQ(answer.out, "");
	EXPECT_EQ(answer.err.rfind("pathlab: ", 0), 0u) << answer.err;
	EXPECT_EQ(std::count(answer.err.begin(), answer.err.end(), '\n'), 1) << answer.err;
	EXPECT_NE(answer.err.find(words), std::string::npos) << answer.err;
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

in_the_kernel::in_the_kernel()
	: programs(number_of(bpf_prog_get_next_id)), maps(number_of(bpf_map_get_next_id)),
	  links(number_of(bpf_link_get_next_id))
{
}

bool in_the_kernel::within(const in_the_kernel &other) const
{
	return programs <= other.programs && maps <= other.maps && links <= other.links;
}

void PrintTo(const in_the_kernel &it, std::ostream *out)
{
	*out << it.programs << " programs, " << it.maps << " maps, " << it.links << " links";
}

void expect_no_more_than(const in_the_kernel &before)
{
	constexpr double patience = 20;
	EXPECT_TRUE(await(patience, [&] { return in_the_kernel{}.within(before); }))
		<< testing::PrintToString(before) << " before, now " << testing::PrintToString(in_the_kernel{});
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

std::string policy_of_table(const std::string &name)
{
	const descriptor link(bpf_obj_get((std::string{folder} + '/' + name + "/link").c_str()));
	bpf_link_info linked{};
	__u32 size = sizeof linked, id = 0;
	EXPECT_EQ(bpf_link_get_info_by_fd(link.get(), &linked, &size), 0);
	std::memcpy(&id, &linked.raw_tracepoint, sizeof id); // the first field of info.struct_ops, which is newer
	const descriptor table(bpf_map_get_fd_by_id(id));
	bpf_map_info told{};
	size = sizeof told;
	EXPECT_EQ(bpf_map_get_info_by_fd(table.get(), &told, &size), 0);
	for (const policy_info &each : all_policies())
		if (const auto whole = "pm_table_" + std::string{each.name}; whole.starts_with(told.name))
			return std::string{each.name};
	return told.name;
}

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
