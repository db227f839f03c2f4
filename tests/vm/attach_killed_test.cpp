// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Whoever attaches or detaches a policy may be killed at any moment: then either nothing is attached or all of it is, at the
// latest when somebody looks.
#include <chrono>
#include <csignal>
#include <functional>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-bpf/attachment.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using bpf::step;

class killed : public testing::Test {
protected:
	const in_the_kernel at_first;
	scene s;
	const netns &here = s.world.client;

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

	using reached = std::function<void(step)>;

	// Does it in a child that kills itself at that step.
	static void until(step last, const std::function<bool(const reached &)> &what)
	{
		const pid_t child = fork();
		if (child == 0) {
			const bool done = what([=](step which) {
				if (which == last)
					raise(SIGKILL);
			});
			_exit(done ? 0 : 1);
		}
		int status = 0;
		waitpid(child, &status, 0);
		EXPECT_TRUE(WIFSIGNALED(status)) << "the step was not reached: " << static_cast<int>(last);
	}

	void attach_until(step last, const char *policy, const std::string &name, bool replace = false) const
	{
		until(last, [&](const reached &told) {
			auto asked = request(policy, name, replace);
			asked.reached = told;
			return bpf::attach(std::move(asked)).has_value();
		});
	}

	static void detach_until(step last, const std::string &name)
	{
		until(last,
		      [&](const reached &told) { return bpf::detach(name, bpf::pin_folder::usual, told).has_value(); });
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

	void TearDown() override
	{
		s.connections.close(s.connections.size());
		detach_all();
		expect_no_more_than(at_first);
	}
};

constexpr step before_it_is_switched[] = {step::loaded, step::pinned, step::attached, step::linked, step::named};
constexpr step after_it_is_switched[] = {step::switched, step::done};
constexpr step of_detaching[] = {step::marked, step::restored, step::set_aside, step::cleared};

// Whether the policy stays attached: from when its namespace is given back, it does not.
bool is_left_attached(step last_of_detaching) { return last_of_detaching == step::marked; }

// By which a policy replaces itself or another one. What has the same name needs no switch, and leaves nothing to remove.
std::vector<step> of_replacing(bool same_name)
{
	if (same_name)
		return {step::loaded,    step::pinned, step::attached, step::linked,
			step::set_aside, step::named,  step::done};
	return {step::loaded,   step::pinned,    step::attached, step::linked, step::named,
		step::switched, step::set_aside, step::cleared,  step::done};
}

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
		for (const step last : of_replacing(name == "fullmesh")) {
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

TEST_F(killed, while_it_detaches_leaves_nothing_from_when_the_namespace_is_switched)
{
	for (const step last : of_detaching) {
		ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
		detach_until(last, "fullmesh");
		EXPECT_EQ(expect_whole(), is_left_attached(last) ? 1u : 0u) << static_cast<int>(last);
		if (is_left_attached(last)) {
			ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
		}
	}
}

TEST_F(killed, while_it_detaches_does_not_stand_in_the_way_of_the_next_one)
{
	for (const step last : of_detaching)
		for (const std::string next : {"attach", "detach"}) {
			ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
			detach_until(last, "fullmesh");
			const said answer = pathlab(here, {next, "fullmesh"});
			if (is_left_attached(last) == (next == "detach"))
				EXPECT_EQ(answer.status, 0) << answer.err;
			else
				expect_refused(answer, next == "detach" ? "nothing is attached"
									: "managed by 'fullmesh' (policy fullmesh)");
			EXPECT_EQ(expect_whole(), next == "attach" ? 1u : 0u) << static_cast<int>(last);
			if (next == "attach") {
				ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
			}
		}
}

// ---- killed beside open connections: they keep the policy, and nothing of it is left when they are closed ----

class killed_beside_connections : public killed {
protected:
	static constexpr std::size_t number = 3;
	const pm_addr another = ipv4(10, 0, 2, 77);

	// Connections that fullmesh manages, before, while and after somebody is killed.
	void expect_managed_throughout(const std::function<void()> &somebody_is_killed)
	{
		ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
		s.connections.open(number);
		paths wanted{{from_to(0, 0), 1}, {from_to(1, 0), 1}};
		s.expect_paths(wanted);
		somebody_is_killed();
		const std::size_t left = expect_whole();
		wanted[{"10.0.2.77", from_to(0, 0).second}] = 1;
		change_address(here, 1, another, true);
		s.expect_paths(wanted);
		if (left) {
			EXPECT_EQ(pathlab(here, {"detach", path_manager()}).status, 0);
		}
		s.connections.close(number);
		change_address(here, 1, another, false);
		EXPECT_EQ(expect_whole(), 0u);
		expect_no_more_than(at_first);
	}
};

TEST_F(killed_beside_connections, while_it_detaches)
{
	for (const step last : of_detaching) {
		SCOPED_TRACE(static_cast<int>(last));
		expect_managed_throughout([&] { detach_until(last, "fullmesh"); });
	}
}

TEST_F(killed_beside_connections, while_it_replaces)
{
	const std::pair<const char *, step> amid[] = {{"fullmesh", step::linked},
						      {"fullmesh", step::set_aside},
						      {"other", step::named},
						      {"other", step::switched},
						      {"other", step::set_aside}};
	for (const auto &[name, last] : amid) {
		SCOPED_TRACE(name + std::to_string(static_cast<int>(last)));
		expect_managed_throughout([&] { attach_until(last, "ndiffports", name, true); });
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
