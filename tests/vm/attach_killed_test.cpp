// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Whoever attaches a policy may be killed at any moment: then either nothing is attached or all of it is, at the latest when
// somebody looks.
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-bpf/attachment.hpp"
#include "tests/support/attachment.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using bpf::step;

class killed : public testing::Test {
protected:
	const netns here = must(netns::create());

	std::string path_manager() const { return must(here.get_sysctl(bpf::path_manager_sysctl)); }

	bpf::attach_request request(const char *policy, const std::string &name, bool replace) const
	{
		bpf::attach_request made;
		made.what.policy = *find_policy(policy);
		made.what.settings = *make_settings(*made.what.policy);
		made.what.name = name;
		made.where = &here;
		made.replace = replace;
		return made;
	}

	// Attaches in a child that kills itself at that step.
	void attach_until(step last, const char *policy, const std::string &name, bool replace = false) const
	{
		const pid_t child = fork();
		if (child == 0) {
			auto asked = request(policy, name, replace);
			asked.reached = [=](step which) {
				if (which == last)
					raise(SIGKILL);
			};
			_exit(bpf::attach(std::move(asked)) ? 0 : 1);
		}
		int status = 0;
		waitpid(child, &status, 0);
		EXPECT_TRUE(WIFSIGNALED(status)) << "the step was not reached: " << static_cast<int>(last);
	}

	// Nothing at all, or what `path_manager` says is attached and active. Yields how many there are.
	std::size_t expect_whole() const
	{
		const auto all = attachments(here);
		for (const auto &each : all)
			EXPECT_EQ(each.at("state"), "active") << each;
		EXPECT_EQ(path_manager(), all.empty() ? "kernel" : all[0].at("name").get<std::string>());
		EXPECT_EQ(kept(), all.empty() ? words{} : words{path_manager()});
		const std::string known = all.empty() ? "kernel userspace" : "kernel userspace " + path_manager();
		EXPECT_TRUE(await(2, [&] { return must(read_sysctl("net.mptcp.available_path_managers")) == known; }))
			<< must(read_sysctl("net.mptcp.available_path_managers"));
		return all.size();
	}

	// Of which policy the table is that the kernel calls.
	static std::string policy_of_table(const std::string &name)
	{
		const descriptor link(
			bpf_obj_get((std::string{bpf::pin_folder::usual} + '/' + name + "/link").c_str()));
		bpf_link_info linked{};
		__u32 size = sizeof linked, id = 0;
		EXPECT_EQ(bpf_link_get_info_by_fd(link.get(), &linked, &size), 0);
		std::memcpy(&id, &linked.raw_tracepoint,
			    sizeof id); // the first field of info.struct_ops, which is newer
		const descriptor table(bpf_map_get_fd_by_id(id));
		bpf_map_info told{};
		size = sizeof told;
		EXPECT_EQ(bpf_map_get_info_by_fd(table.get(), &told, &size), 0);
		for (const policy_info &each : all_policies())
			if (const auto whole = "pm_table_" + std::string{each.name}; whole.starts_with(told.name))
				return std::string{each.name};
		return told.name;
	}

	void TearDown() override { detach_all(); }
};

constexpr step before_it_is_switched[] = {step::loaded, step::pinned, step::attached, step::linked, step::named};
constexpr step after_it_is_switched[] = {step::switched, step::done};

TEST_F(killed, before_the_namespace_is_switched_leaves_nothing)
{
	for (const step last : before_it_is_switched) {
		attach_until(last, "fullmesh", "fullmesh");
		EXPECT_EQ(expect_whole(), 0u) << static_cast<int>(last);
	}
}

TEST_F(killed, after_it_leaves_all_of_it)
{
	for (const step last : after_it_is_switched) {
		attach_until(last, "fullmesh", "fullmesh");
		EXPECT_EQ(expect_whole(), 1u) << static_cast<int>(last);
		ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
		EXPECT_EQ(expect_whole(), 0u);
	}
}

TEST_F(killed, before_it_does_not_stand_in_the_way_of_the_next_one)
{
	for (const step last : before_it_is_switched) {
		attach_until(last, "fullmesh", "fullmesh");
		ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0) << static_cast<int>(last);
		EXPECT_EQ(expect_whole(), 1u);
		ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
	}
}

TEST_F(killed, while_it_replaces_another_leaves_the_one_or_the_other)
{
	for (const std::string name : {"fullmesh", "other"})
		for (const step last : {step::loaded, step::pinned, step::attached, step::linked, step::named,
					step::switched, step::done}) {
			if (last == step::switched && name == "fullmesh")
				continue; // the same name: nothing is to be switched
			ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
			attach_until(last, "ndiffports", name, true);
			EXPECT_EQ(expect_whole(), 1u) << name << ' ' << static_cast<int>(last);
			const auto left = attachments(here)[0];
			EXPECT_EQ(left.at("before"), "kernel");
			EXPECT_EQ(left.at("policy"), policy_of_table(left.at("name"))) << static_cast<int>(last);
			ASSERT_EQ(pathlab(here, {"detach", left.at("name")}).status, 0);
			EXPECT_EQ(expect_whole(), 0u);
		}
}

// ---- killed at any time: where that is, is left to chance ----

constexpr unsigned moments = 20;

double seconds_of(const std::function<void()> &what)
{
	const auto begun = std::chrono::steady_clock::now();
	what();
	return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

// Does it in a child that has so long.
void kill_after(double seconds, const std::function<bool()> &what)
{
	const pid_t child = fork();
	if (child == 0)
		_exit(what() ? 0 : 1);
	usleep(static_cast<useconds_t>(seconds * 1e6));
	kill(child, SIGKILL);
	waitpid(child, nullptr, 0);
}

TEST_F(killed, at_any_time_leaves_nothing_or_all_of_it)
{
	const auto attach = [&] { return bpf::attach(request("fullmesh", "fullmesh", false)).has_value(); };
	const auto detach = [&] { return pathlab(here, {"detach", "fullmesh"}).status == 0; };
	const double takes = seconds_of([&] { ASSERT_TRUE(attach()); });
	ASSERT_TRUE(detach());
	unsigned whole = 0, nothing = 0;
	for (unsigned i = 0; i < moments; ++i) {
		kill_after(takes * 1.5 * i / (moments - 1), attach);
		++(expect_whole() ? whole : nothing);
		if (path_manager() != "kernel") {
			ASSERT_TRUE(detach());
		}
	}
	EXPECT_GT(whole, 0u);
	EXPECT_GT(nothing, 0u);
}

TEST_F(killed, while_it_detaches_leaves_nothing_or_all_of_it)
{
	const auto attach = [&] { return bpf::attach(request("fullmesh", "fullmesh", false)).has_value(); };
	const auto detach = [&] { return bpf::detach("fullmesh").has_value(); };
	ASSERT_TRUE(attach());
	const double takes = seconds_of([&] { ASSERT_TRUE(detach()); });
	unsigned whole = 0, nothing = 0;
	for (unsigned i = 0; i < moments; ++i) {
		if (path_manager() == "kernel") {
			ASSERT_TRUE(attach());
		}
		kill_after(takes * 2 * i / (moments - 1), detach);
		++(expect_whole() ? whole : nothing);
	}
	EXPECT_GT(whole, 0u);
	EXPECT_GT(nothing, 0u);
}

} // namespace
