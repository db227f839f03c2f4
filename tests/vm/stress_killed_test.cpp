// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A stress run that is killed while the path manager is a policy in the kernel leaves nothing of it.
#include <csignal>
#include <functional>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-bpf/attachment.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/stress_runner.hpp"
#include "tests/support/daemon.hpp"

namespace {

using namespace pm;
using namespace pm::replay;
using pm::test::must;

// Its path managers in BPF have such names.
bool kernel_knows_one()
{
	return must(read_sysctl("net.mptcp.available_path_managers")).find(" st") != std::string::npos;
}

void run_until(std::function<void()> started)
{
	const auto plan = must(make_plans(*must(find_scenario("steady")), {.connections = 20, .rate = 500})).at(0);
	stress_run_options options;
	options.plan = &plan;
	options.backend = must(find_contender("bpf"));
	options.policy = must(find_policy("fullmesh"));
	options.started = [&](contender &) { started(); };
	(void)must(run_stress(options));
}

TEST(killed_stress, leaves_no_policy_in_the_kernel)
{
	bool known = false;
	run_until([&] { known = kernel_knows_one(); });
	ASSERT_TRUE(known) << "while it runs";

	const pid_t killed = fork();
	if (killed == 0) {
		run_until([] { raise(SIGKILL); });
		_exit(0);
	}
	int status = 0;
	ASSERT_EQ(waitpid(killed, &status, 0), killed);
	ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
	EXPECT_TRUE(must(bpf::list()).empty());
	bool gone = false;
	for (int tries = 0; tries < 100 && !gone; ++tries, usleep(50'000)) // namespaces are taken down behind it
		gone = !kernel_knows_one();
	EXPECT_TRUE(gone);
}

} // namespace
