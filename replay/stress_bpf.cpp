// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The path manager that is a policy in the kernel: the programs of `pathlab attach`, and their own counters. Nothing is
// pinned, so nothing is left of it when this process ends, however that happens.
#include <algorithm>
#include <atomic>
#include <numeric>

#include <fmt/format.h>
#include <unistd.h>

#include "pm-bpf/attachment.hpp"
#include "pm-bpf/kernel_series.hpp"
#include "replay/stress_contender.hpp"

namespace pm::replay {

namespace {

// Callbacks that stand where the kernel sends an event over netlink, too: addresses of its own are no such event.
std::uint64_t called_of_events(const pm_counters &counted)
{
	return std::accumulate(std::begin(counted.notified), std::end(counted.notified), std::uint64_t{0}) -
	       counted.notified[PM_NOTIFIED_local_addr_added] - counted.notified[PM_NOTIFIED_local_addr_removed];
}

class attached_policy final : public contender {
public:
	explicit attached_policy(const contender_options &options) : options_(options) {}
	~attached_policy() override
	{
		if (link_)
			(void)here_->set_sysctl(bpf::path_manager_sysctl, "kernel");
	}

	expected<void> start() override
	{
		static std::atomic<unsigned> number{0}; // the kernel may still be about to forget the one before
		auto here = netns::current();
		if (!here)
			return tl::unexpected(here.error());
		here_.emplace(std::move(*here));
		bpf::attached_policy what;
		what.policy = options_.policy;
		what.settings = options_.settings;
		what.name = fmt::format("st{}_{}", getpid() % 100'000'000, number++ % 1000);
		auto loaded = bpf::programs::load(what);
		if (!loaded)
			return tl::unexpected(loaded.error());
		programs_.emplace(std::move(*loaded));
		memory_ = programs_->memory_bytes();
		auto link = programs_->attach();
		if (!link)
			return tl::unexpected(link.error());
		link_ = std::move(*link);
		return here_->set_sysctl(bpf::path_manager_sysctl, what.name);
	}

	expected<contender_account> account() override
	{
		const pm_counters counted = programs_->counted();
		contender_account account;
		events_told &events = account.events.emplace();
		events.by = events_told::way::call;
		events.delivered = called_of_events(counted);
		commands_told &commands = account.commands.emplace();
		commands.sent = std::accumulate(std::begin(counted.commands), std::end(counted.commands),
						std::uint64_t{0});
		commands.refused = std::accumulate(std::begin(counted.errors), std::end(counted.errors),
						   std::uint64_t{0});
		commands.accepted = commands.sent - std::min(commands.sent, commands.refused);
		return account;
	}

	std::optional<std::uint64_t> memory_kib() const override
	{
		return (memory_ + programs_->remembered_bytes()) / 1024;
	}

private:
	contender_options options_;
	std::optional<netns> here_;
	std::optional<bpf::programs> programs_;
	std::uint64_t memory_ = 0; // of the programs and their maps, in bytes
	descriptor link_; // closed first: the kernel calls nobody then
};

} // namespace

expected<void> check_bpf(const contender_options &)
{
	auto good = bpf::check_kernel();
	return good ? bpf::check_privileges() : good;
}

std::unique_ptr<contender> make_bpf_contender(const contender_options &options)
{
	return std::make_unique<attached_policy>(options);
}

} // namespace pm::replay
