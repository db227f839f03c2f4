// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab attach and detach on a kernel that does not take policies: one sentence, and nothing is changed. On one that does,
// tests/vm/ is what tests them.
#include <algorithm>

#include "pm-bpf/kernel_series.hpp"
#include "tests/e2e/program.hpp"

namespace {

using namespace pm::e2e;

class attach_here : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		if (pm::bpf::check_kernel())
			GTEST_SKIP() << "this kernel takes policies";
	}
};

TEST_F(attach_here, says_what_kernel_it_takes)
{
	for (const manner &how : {manner{}, manner{.as_nobody = true, .out = {}, .mounts = {}}})
		for (const words &policy : {words{"fullmesh"}, {"guard", "--allow", "10.0.0.0/8"}}) {
			words arguments{"attach"};
			arguments.insert(arguments.end(), policy.begin(), policy.end());
			const outcome done = pathlab(arguments, how);
			EXPECT_EQ(done.status, 1);
			EXPECT_EQ(done.out, "");
			EXPECT_EQ(done.err, "pathlab: this kernel's mptcp_pm_ops has no BPF callbacks: boot one with "
					    "kernel-patches/ "
					    "applied, `./run vm`, or use `pm-netlinkd`\n");
		}
}

TEST_F(attach_here, says_that_the_kernel_has_to_describe_its_types)
{
	const manner without_types{.as_nobody = false,
				   .out = {},
				   .mounts = "mount --bind /dev/null /sys/kernel/btf/vmlinux"};
	const outcome done = pathlab({"attach", "fullmesh"}, without_types);
	EXPECT_EQ(done.status, 1);
	EXPECT_EQ(done.out, "");
	EXPECT_EQ(done.err.rfind(
			  "pathlab: this kernel does not describe its types (there is no /sys/kernel/btf/vmlinux)", 0),
		  0u)
		<< done.err;
	EXPECT_EQ(std::count(done.err.begin(), done.err.end(), '\n'), 1) << done.err;
}

TEST_F(attach_here, what_is_wrong_in_the_command_line_comes_first)
{
	EXPECT_NE(pathlab({"attach", "fulmesh"}).err.find("there is no policy 'fulmesh'"), std::string::npos);
	EXPECT_NE(pathlab({"attach", "guard"}).err.find("nothing to guard"), std::string::npos);
	EXPECT_NE(pathlab({"attach", "fullmesh", "--name", "a-b"}).err.find("1 to 15 letters"), std::string::npos);
	EXPECT_EQ(pathlab({"attach"}).status, 2);
	EXPECT_EQ(pathlab({"attach", "fullmesh", "--most-subflows", "65"}).status, 2);
}

TEST_F(attach_here, the_guard_is_for_attaching_alone)
{
	generate("trace", 10);
	const outcome replayed = pathlab({"replay", "trace", "--through", "native", "--policy", "guard"});
	EXPECT_EQ(replayed.status, 2);
	EXPECT_NE(replayed.err.find("`pathlab attach guard`"), std::string::npos) << replayed.err;
}

} // namespace
