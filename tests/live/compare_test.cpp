// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A very small comparison on this kernel, with a virtual machine that is none: a script, which does what a machine does that
// is not there, or ends too early.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/compare.hpp"
#include "replay/compare_machine.hpp"
#include "replay/interrupt.hpp"
#include "tests/support/daemon.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pm;
using namespace pm::replay;
using nlohmann::json;
using pm::test::must;

constexpr const char *measure_one = R"(mkdir -p "$out/runs"
echo '{"machine": {"kernel": "patched"}}' >"$out/runs/where.json"
echo '{"rate_with": 1}' >"$out/runs/probes.json"
echo '{"backend": "bpf", "place": "vm"}' >"$out/runs/stress-00-steady-bpf-1.json"
echo '{"backend": "bpf", "place": "vm"}' >"$out/runs/replay-00-bpf-1.json"
)";

class compared_with_a_machine : public testing::Test {
protected:
	void SetUp() override
	{
		std::string made = fs::temp_directory_path() / "pathlab-test-XXXXXX";
		ASSERT_NE(mkdtemp(made.data()), nullptr);
		folder = made;
		setenv("PATHLAB_SOURCE", folder.c_str(), 1);
		options.folder = folder + "/results";
		options.policy = must(find_policy("fullmesh"));
		options.replays = false;
		options.repetitions = 1;
		options.probe_repetitions = 0;
		options.plans = must(make_plans(*must(find_scenario("steady")), {.connections = 20, .rate = 500}));
	}
	void TearDown() override
	{
		unsetenv("PATHLAB_SOURCE");
		std::error_code ignored;
		fs::remove_all(folder, ignored);
	}

	// As `./run vm --share OUT ...`, whose folder is $out.
	void the_machine(const std::string &does) const
	{
		std::ofstream{folder + "/run"} << "#!/bin/sh\nout=$3\necho \"$*\" >\"$out/words\"\n" << does;
		fs::permissions(folder + "/run", fs::perms::owner_all);
	}
	void an_earlier_machine_has_measured() const
	{
		the_machine(measure_one + std::string{"echo '{}' >\"$out/runs/about.json\"\n"});
		const std::string out = options.folder + "/vm";
		fs::create_directories(out);
		ASSERT_EQ(std::system((folder + "/run vm --share " + out).c_str()), 0);
		ASSERT_TRUE(fs::exists(out + "/runs/where.json"));
	}
	comparison run() { return must(compare(options, [](double, const std::string &) {})); }
	static std::size_t in_machine(const json &runs)
	{
		return static_cast<std::size_t>(std::count_if(runs.begin(), runs.end(),
							      [](const json &run) { return run.at("place") == "vm"; }));
	}
	static bool left_out_for(const comparison &all, const std::string &reason)
	{
		return all.left_out.dump().find(reason) != std::string::npos;
	}
	std::string words() const
	{
		std::ifstream file{options.folder + "/vm/words"};
		std::string line;
		std::getline(file, line);
		return line;
	}

	std::string folder;
	compare_options options;
};

TEST_F(compared_with_a_machine, that_is_not_there_says_so_and_is_complete)
{
	the_machine("echo 'there is no qemu'; exit 125\n");
	const comparison all = run();
	EXPECT_TRUE(all.complete) << all.failure;
	EXPECT_EQ(in_machine(all.stresses), 0u);
	EXPECT_TRUE(left_out_for(all, "there was no virtual machine: ")) << all.left_out.dump(2);
	EXPECT_TRUE(left_out_for(all, "there is no qemu"));
	EXPECT_TRUE(all.machine.is_null());
}

TEST_F(compared_with_a_machine, that_ended_too_early_is_not_complete_and_keeps_its_runs)
{
	the_machine(measure_one + std::string{"echo 'the command took longer than 600 s'; exit 125\n"});
	const comparison all = run();
	EXPECT_FALSE(all.complete);
	EXPECT_NE(all.failure.find("the command took longer than 600 s"), std::string::npos) << all.failure;
	EXPECT_EQ(in_machine(all.stresses), 1u);
	EXPECT_FALSE(left_out_for(all, "there was no virtual machine")) << all.left_out.dump(2);
	EXPECT_EQ(all.machine.at("machine").at("kernel"), "patched");
	EXPECT_EQ(all.machine.at("probes").at("rate_with"), 1);
}

TEST_F(compared_with_a_machine, does_not_show_what_an_earlier_one_has_measured)
{
	an_earlier_machine_has_measured();
	the_machine("exit 125\n");
	const comparison all = run();
	EXPECT_EQ(in_machine(all.stresses), 0u);
	EXPECT_TRUE(all.machine.is_null());
	EXPECT_TRUE(all.complete) << all.failure;
}

TEST_F(compared_with_a_machine, goes_on_with_what_an_earlier_one_has_measured)
{
	an_earlier_machine_has_measured();
	the_machine("exit 0\n");
	options.resume = true;
	const comparison all = run();
	EXPECT_EQ(in_machine(all.stresses), 1u);
	EXPECT_NE(words().find("--resume"), std::string::npos) << words();
}

TEST_F(compared_with_a_machine, gives_it_the_same_buffer)
{
	the_machine("exit 125\n");
	options.buffer_bytes = 65536;
	(void)run();
	EXPECT_NE(words().find("--buffer 65536"), std::string::npos) << words();
}

TEST_F(compared_with_a_machine, replays_in_it_too)
{
	the_machine(measure_one + std::string{"sleep 0.1; echo '{\"backend\": \"a\", \"place\": \"vm\"}' "
					      ">\"$out/runs/replay-00-a-1.json\"\n"});
	options.replays = true;
	options.connections = 50;
	options.tail_events = 10;
	const comparison all = run();
	EXPECT_TRUE(all.complete) << all.failure;
	EXPECT_EQ(words().find("--only"), std::string::npos) << words();
	EXPECT_EQ(in_machine(all.replays), 2u);
	EXPECT_GT(all.replays.size(), 2u) << "here, too";
	EXPECT_EQ(all.replays.back().at("backend"), "a") << "in the order in which they ran";
}

TEST_F(compared_with_a_machine, leaves_the_replays_out_there_if_it_is_to_be_quick)
{
	the_machine(measure_one);
	options.how_much = extent::quick;
	options.replays = true;
	options.connections = 50;
	options.tail_events = 10;
	const comparison all = run();
	EXPECT_NE(words().find("--only stress"), std::string::npos) << words();
	EXPECT_TRUE(left_out_for(all, "without --quick it is there")) << all.left_out.dump(2);

	// Where there is no machine that is the only reason.
	the_machine("exit 125\n");
	const comparison none = run();
	EXPECT_FALSE(left_out_for(none, "without --quick it is there")) << none.left_out.dump(2);
	EXPECT_TRUE(left_out_for(none, "there was no virtual machine"));
}

// In a process of its own, which stays interrupted.
TEST_F(compared_with_a_machine, that_is_told_to_end_is_told_once_and_tidies_up)
{
	the_machine("trap 'echo told >>\"$out/told\"' TERM\n"
		    "kill -INT $PPID\n"
		    "until [ -s \"$out/told\" ]; do sleep 0.05; done\n"
		    "sleep 0.4; echo tidied >>\"$out/told\"\n");
	const pid_t comparing = fork();
	if (comparing == 0) {
		catch_interrupts();
		(void)run_in_machine({}, options.folder, 10);
		_exit(interrupted() ? 0 : 1);
	}
	int status = 0;
	ASSERT_EQ(waitpid(comparing, &status, 0), comparing);
	EXPECT_EQ(status, 0);
	std::ifstream file{options.folder + "/told"};
	EXPECT_EQ(std::string(std::istreambuf_iterator<char>{file}, {}), "told\ntidied\n");
}

TEST_F(compared_with_a_machine, keeps_every_run_when_it_has_ended)
{
	options.in_machine = false;
	std::size_t kept = 0;
	const comparison all = must(compare(
		options, [](double, const std::string &) {},
		[&](const comparison &so_far) -> expected<void> {
			EXPECT_EQ(so_far.stresses.size(), ++kept);
			EXPECT_FALSE(so_far.complete);
			EXPECT_TRUE(fs::exists(options.folder + "/runs/where.json"));
			return {};
		}));
	EXPECT_TRUE(all.complete) << all.failure;
	EXPECT_EQ(all.stresses.size(), kept);
	EXPECT_GE(kept, 2u);
}

} // namespace
