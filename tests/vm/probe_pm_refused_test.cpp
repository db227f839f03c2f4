// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the kernel must not take as a path manager, and that it is for the right reason: the verifier's own words.
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <string>

#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include "pm-bpf/verifier_log.hpp"
#include "tests/vm/probe_pm.hpp"
#include "tests/vm/probe_pm_refused.skel.h"

namespace {

using namespace pm;
using namespace pm::test;

struct refused_case {
	const char *program, *reason;
	friend void PrintTo(const refused_case &one, std::ostream *out) { *out << one.program; }
};

constexpr refused_case cases[] = {
	{"opens_when_told", "calling kernel function bpf_mptcp_subflow_connect is not allowed"},
	{"announces_when_told", "calling kernel function bpf_mptcp_pm_announce is not allowed"},
	{"withdraws_when_told", "calling kernel function bpf_mptcp_pm_withdraw is not allowed"},
	{"closes_when_told", "calling kernel function bpf_mptcp_subflow_close is not allowed"},
	{"sets_a_backup_when_told", "calling kernel function bpf_mptcp_subflow_set_backup is not allowed"},
	{"lists_when_told", "calling kernel function bpf_iter_mptcp_subflow_new is not allowed"},
	{"opens_when_asked", "calling kernel function bpf_mptcp_subflow_connect is not allowed"},
	{"opens_from_tracing", "calling kernel function bpf_mptcp_subflow_connect is not allowed"},
	{"asks_for_work_from_tracing", "calling kernel function bpf_mptcp_pm_request_work is not allowed"},
	{"opens_from_a_system_call", "calling kernel function bpf_mptcp_subflow_connect is not allowed"},
	{"closes_from_a_replacement", "calling kernel function bpf_mptcp_subflow_close is not allowed"},
	{"withdraws_from_a_replacement", "calling kernel function bpf_mptcp_pm_withdraw is not allowed"},
	{"asks_for_work_from_congestion_control", "calling kernel function bpf_mptcp_pm_request_work is not allowed"},
	{"sets_an_option_in_created", "cannot use helper bpf_setsockopt"},
	{"sets_an_option_in_subflow_closed", "cannot use helper bpf_setsockopt"},
	{"sets_an_option_in_priority_changed", "cannot use helper bpf_setsockopt"},
	{"sets_an_option_in_listener_created", "cannot use helper bpf_setsockopt"},
	{"gets_an_option_in_closed", "cannot use helper bpf_getsockopt"},
	{"sets_an_option_in_work", "cannot use helper bpf_setsockopt"},
	{"sleeps_when_told", "attach to unsupported member established of struct mptcp_pm_ops"},
	{"takes_what_is_not_given", "invalid bpf_context access"},
	{"writes_into_the_connection", "only read is supported"},
	{"uses_what_may_not_be_there", "Possibly NULL pointer passed to trusted"},
};

// What the verifier says of one of the programs; empty if it takes it.
class lone_program {
public:
	lone_program(const char *called, int replaced)
	{
		program_ = bpf_object__find_program_by_name(skeleton_->obj, called);
		bpf_map *map = nullptr;
		bpf_object__for_each_map(map, skeleton_->obj)
		{
			if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
				bpf_map__set_autocreate(map, bpf_map__name(map) == std::string("table_") + called);
		}
		bpf_program__set_autoload(program_, true);
		bpf_program__set_log_level(program_, 1);
		bpf_program__set_log_buf(program_, log_.data(), log_.size());
		if (bpf_program__type(program_) == BPF_PROG_TYPE_EXT)
			bpf_program__set_attach_target(program_, replaced, nullptr);
	}
	~lone_program() { probe_pm_refused_bpf__destroy(skeleton_); }
	bool is_taken() { return probe_pm_refused_bpf__load(skeleton_) == 0; }
	const char *log() const { return log_.c_str(); }

private:
	probe_pm_refused_bpf *skeleton_ = probe_pm_refused_bpf__open();
	bpf_program *program_ = nullptr;
	std::string log_ = std::string(64 << 10, '\0');
};

class refused_program : public testing::TestWithParam<refused_case> {};

TEST_P(refused_program, is_refused_for_its_reason)
{
	const auto lab = must(replay::lab::create({.paths = 1, .endpoints = false}));
	const probe attached(lab); // whose function some would replace
	lone_program tried(GetParam().program, attached.program("probe_work"));
	EXPECT_FALSE(tried.is_taken());
	EXPECT_NE(std::strstr(tried.log(), GetParam().reason), nullptr) << tried.log();
}

INSTANTIATE_TEST_SUITE_P(probe_pm, refused_program, testing::ValuesIn(cases),
			 [](const auto &given) { return std::string(given.param.program); });

TEST(refused_table, without_a_name_is_not_attached) { EXPECT_EQ(try_to_attach("probe_nameless"), -EINVAL); }

TEST(refused_table, of_a_name_in_use_is_not_attached)
{
	const auto lab = must(replay::lab::create({.paths = 1, .endpoints = false}));
	{
		const probe attached(lab);
		EXPECT_EQ(try_to_attach("probe_quiet"), -EEXIST);
		EXPECT_EQ(attached.update_by_itself(), 0);
		EXPECT_EQ(try_to_attach("probe_quiet"), -EEXIST) << "it is still there";
	}
	EXPECT_TRUE(await(10, [] { return try_to_attach("probe_quiet") == 0; })) << "it is free again";
}

} // namespace
