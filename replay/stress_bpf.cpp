// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The path manager that is a policy in the kernel: attached as `pathlab attach` does, its counters read as `pathlab status`
// does. The kernel calls it; so what was emitted is what it was told, and nothing can be lost on the way.
#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <unistd.h>

#include "pm-bpf/attachment.hpp"
#include "pm-bpf/kernel_series.hpp"
#include "replay/stress_contender.hpp"

namespace pm::replay {

namespace {

class attached_policy final : public contender {
public:
	explicit attached_policy(const contender_options &options) : options_(options) {}
	~attached_policy() override
	{
		if (!name_.empty())
			(void)bpf::detach(name_);
	}

	expected<void> start() override
	{
		auto here = netns::current();
		if (!here)
			return tl::unexpected(here.error());
		bpf::attach_request request;
		request.what.policy = options_.policy;
		request.what.settings = options_.settings;
		request.what.name = fmt::format("stress{}", getpid() % 100'000'000);
		request.where = &*here;
		auto attached = bpf::attach(std::move(request));
		if (!attached)
			return tl::unexpected(attached.error());
		name_ = attached->name;
		return {};
	}

	expected<contender_account> account() override
	{
		const auto all = bpf::list();
		if (!all)
			return tl::unexpected(all.error());
		const auto ours = std::find_if(all->begin(), all->end(),
					       [this](const bpf::attached &each) { return each.what.name == name_; });
		if (ours == all->end())
			return fail(fmt::format("the attached policy {} is gone", name_));
		const pm_counters &counted = ours->counted;
		contender_account account;
		event_account &events = account.whole.emplace();
		events.emitted_by = "implied";
		events.emitted = events.delivered = std::accumulate(std::begin(counted.notified),
								    std::end(counted.notified), std::uint64_t{0});
		events.acted_on = std::min<std::uint64_t>(counted.works, events.delivered);
		for (const char *stage : loss_stages)
			events.lost[stage] = 0;
		commands_told &commands = account.commands.emplace();
		commands.sent = std::accumulate(std::begin(counted.commands), std::end(counted.commands),
						std::uint64_t{0});
		commands.refused = std::accumulate(std::begin(counted.errors), std::end(counted.errors),
						   std::uint64_t{0});
		commands.accepted = commands.sent - std::min(commands.sent, commands.refused);
		return account;
	}

private:
	contender_options options_;
	std::string name_;
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
