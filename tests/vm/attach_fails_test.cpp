// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A step of attaching or detaching that fails: that is said in one sentence, and what there was before is what there is then,
// also before anybody looks and mends.
#include <filesystem>
#include <iostream>
#include <set>

#include <gtest/gtest.h>

#include "pm-bpf/attachment.hpp"
#include "tests/support/attachment.hpp"

namespace {

using namespace pm;
using namespace pm::test;
namespace fs = std::filesystem;

const fs::path pins = bpf::pin_folder::usual;

// As in many a container.
const words without_writable_sysctls{
	"/usr/bin/unshare",
	"--mount",
	"/bin/sh",
	"-c",
	"mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"",
	"sh"};

words with_descriptors(unsigned most) { return {"/usr/bin/prlimit", "--nofile=" + std::to_string(most), "--"}; }

// None of these succeeds in what it does; with and without a policy that is attached.
class attach_fails : public testing::Test {
protected:
	const in_the_kernel at_first;
	const netns here = must(netns::create());

	std::string path_manager() const { return must(here.get_sysctl(bpf::path_manager_sysctl)); }

	// Nothing else than this one, if any, is pinned, known to the kernel or loaded. Looks at what there is itself: pathlab
	// would mend it.
	void expect_only(const words &names, const in_the_kernel &objects) const
	{
		EXPECT_EQ(kept(), names);
		EXPECT_EQ(path_manager(), names.empty() ? "kernel" : names[0]);
		const std::string known = names.empty() ? "kernel userspace" : "kernel userspace " + names[0];
		EXPECT_TRUE(await(2, [&] { return must(read_sysctl("net.mptcp.available_path_managers")) == known; }))
			<< must(read_sysctl("net.mptcp.available_path_managers"));
		expect_no_more_than(objects);
		for (const std::string &each : names)
			EXPECT_EQ(policy_of_table(each), "fullmesh");
	}

	// More and more descriptors, until there are enough: one step after the other finds that there are none left. Yields how
	// many it takes. Numbers between `few` and `many` are left out.
	static constexpr unsigned few = 10;
	unsigned expect_each_step_to_fail_for_want_of_descriptors(const words &arguments, const words &attached_before,
								  unsigned many = few)
	{
		const in_the_kernel before;
		std::set<std::string> reasons;
		for (unsigned most = 4; most < 200 && !HasFailure(); most = most == few ? many + 1 : most + 1) {
			SCOPED_TRACE(most);
			const said answer = pathlab(here, arguments, with_descriptors(most));
			if (answer.status == 0) {
				std::cout << arguments[0] << " fails in " << reasons.size() << " ways with less than "
					  << most << " descriptors\n";
				EXPECT_GE(reasons.size(), 3u);
				return most;
			}
			reasons.insert(answer.err);
			expect_refused(answer, "");
			expect_only(attached_before, before);
		}
		throw std::runtime_error("it never had enough of them");
	}

	void TearDown() override
	{
		detach_all();
		expect_no_more_than(at_first);
	}
};

TEST_F(attach_fails, where_something_stands_in_the_place_of_its_pins)
{
	fs::create_directories(pins / "fullmesh+new" / "deeper");
	expect_refused(pathlab(here, {"attach", "fullmesh"}),
		       "cannot make the folder /sys/fs/bpf/pathlab/fullmesh+new");
	EXPECT_EQ(kept(), words{"fullmesh+new"}) << "which is not its own";
	fs::remove_all(pins / "fullmesh+new");
	expect_only({}, at_first);

	fs::create_directories(pins / "fullmesh+old" / "deeper");
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	const in_the_kernel attached;
	expect_refused(pathlab(here, {"attach", "ndiffports", "--replace"}), "fullmesh+old");
	expect_refused(pathlab(here, {"detach", "fullmesh"}), "fullmesh+old");
	fs::remove_all(pins / "fullmesh+old");
	expect_only({"fullmesh"}, attached);
	EXPECT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
}

TEST_F(attach_fails, where_the_namespace_cannot_be_switched)
{
	expect_refused(pathlab(here, {"attach", "fullmesh"}, without_writable_sysctls),
		       "cannot set sysctl net.mptcp.path_manager");
	expect_only({}, at_first);

	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	const in_the_kernel attached;
	expect_refused(pathlab(here, {"attach", "ndiffports", "--replace"}, without_writable_sysctls),
		       "cannot set sysctl net.mptcp.path_manager");
	expect_only({"fullmesh"}, attached);
	expect_refused(pathlab(here, {"detach", "fullmesh"}, without_writable_sysctls),
		       "cannot set sysctl net.mptcp.path_manager");
	expect_only({"fullmesh"}, attached);
	must(here.set_sysctl(bpf::path_manager_sysctl, "userspace"));
	EXPECT_EQ(attachments(here).size(), 1u) << "it is not half detached";
	EXPECT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
}

// The guard, as it is loaded quickly. To replace another one differs before it is loaded, and after that.
TEST_F(attach_fails, without_descriptors_for_each_of_its_steps)
{
	const words attach{"attach", "guard", "--most-subflows", "2"};
	const unsigned enough = expect_each_step_to_fail_for_want_of_descriptors(attach, {});
	EXPECT_EQ(pathlab(here, {"detach", "guard"}).status, 0);
	for (const char *name : {"fullmesh", "other"}) {
		ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
		words replace = attach;
		replace.insert(replace.end(), {"--replace", "--name", name});
		expect_each_step_to_fail_for_want_of_descriptors(replace, {"fullmesh"}, enough - 5);
		EXPECT_EQ(pathlab(here, {"detach", name}).status, 0);
		expect_only({}, at_first);
	}
}

TEST_F(attach_fails, to_be_taken_off_without_descriptors_for_each_of_its_steps)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	expect_each_step_to_fail_for_want_of_descriptors({"detach", "fullmesh"}, {"fullmesh"});
	expect_only({}, at_first);
}

} // namespace
