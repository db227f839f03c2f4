// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/attachment.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include "pm-bpf/attachment_kept.hpp"
#include "pm-bpf/kernel_series.hpp"
#include "pm-bpf/netns_handle.hpp"
#include "pm-netlink/tenure.hpp"

namespace pm::bpf {

namespace {

std::string place_of(const std::string &netns_name)
{
	return netns_name.empty() ? std::string{"this network namespace"}
				  : fmt::format("network namespace '{}'", netns_name);
}

std::uint64_t real_time_ns()
{
	timespec now{};
	clock_gettime(CLOCK_REALTIME, &now);
	return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// pm-netlinkd holds a lock while it serves a namespace. As long as what is returned is there, none begins to where one was.
expected<descriptor> keep_daemon_out(const netns &where, const std::string &netns_name)
{
	const auto path = in_namespace(where,
				       [] { return netlink::namespace_file(netlink::default_run_folder, ".lock"); });
	if (!path)
		return tl::unexpected(path.error());
	descriptor lock(::open(path->c_str(), O_RDONLY | O_CLOEXEC));
	if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
		return fail(fmt::format("pm-netlinkd serves {}: stop it first", place_of(netns_name)));
	return lock;
}

// What was detached a moment ago the kernel may still be about to forget.
expected<void> check_name_is_free(const std::string &name)
{
	for (unsigned tries = 0; tries < 100; ++tries) {
		const auto all = read_sysctl("net.mptcp.available_path_managers");
		if (!all)
			return tl::unexpected(all.error());
		if (fmt::format(" {} ", *all).find(' ' + name + ' ') == std::string::npos)
			return {};
		std::this_thread::sleep_for(std::chrono::milliseconds(10));
	}
	return fail(
		fmt::format("the kernel has a path manager called '{}' already: give this one another name with --name",
			    name));
}

template <std::size_t N>
void copy(const std::string &from, char (&to)[N])
{
	to[from.copy(to, N - 1)] = '\0';
}

// The making of one attachment. Unless it comes to its end, nothing is left of it.
class making {
public:
	making(const pin_folder &pins, const attach_request &request, pm_attachment meta)
		: pins_(pins), request_(request), meta_(meta)
	{
	}
	~making()
	{
		programs_.reset(); // its descriptors may have been the last ones, and clearing takes one
		if (begun_)
			pins_.abandon(request_.what.name);
	}

	expected<attach_result> run(const std::optional<attached> &existing)
	{
		const bool in_place = existing && existing->what.name == request_.what.name;
		return load()
			.and_then([&] { return pin(); })
			.and_then([&] { return in_place ? take_over(*existing) : link_anew(); })
			.and_then(
				[&] { return in_place ? finish() : finish().and_then([&] { return switch_over(); }); })
			.and_then([&]() -> expected<attach_result> {
				if (existing && !in_place)
					if (auto gone = remove_replaced(); !gone)
						return tl::unexpected(gone.error());
				reached(step::done);
				return attach_result{meta_.name, meta_.before, existing.has_value(),
						     meta_.verified_instructions};
			});
	}

private:
	void reached(step which) const
	{
		if (request_.reached)
			request_.reached(which);
	}

	expected<void> load()
	{
		auto loaded = programs::load(request_.what);
		if (!loaded)
			return tl::unexpected(loaded.error());
		programs_.emplace(std::move(*loaded));
		meta_.table = programs_->table_id();
		meta_.verified_instructions = programs_->verified_instructions();
		reached(step::loaded);
		return write_meta(programs_->meta(), meta_);
	}

	expected<void> pin()
	{
		if (auto begun = pins_.begin(request_.what.name); !begun)
			return begun;
		begun_ = true;
		for (const auto &each : programs_->maps())
			if (auto pinned = pins_.pin(request_.what.name, each.name, each.fd); !pinned)
				return pinned;
		reached(step::pinned);
		return {};
	}

	expected<void> link_anew()
	{
		auto link = programs_->attach();
		if (!link)
			return tl::unexpected(link.error());
		reached(step::attached);
		return pins_.pin(request_.what.name, "link", link->get());
	}

	// The link is the old attachment's; from here on its connections get the new table.
	expected<void> take_over(const attached &existing)
	{
		const descriptor link = pins_.open_pin(existing.what.name, "link");
		if (!link)
			return fail_errno(fmt::format("cannot open the link of '{}'", existing.what.name));
		meta_.complete = 1;
		if (auto written = write_meta(programs_->meta(), meta_); !written)
			return written;
		if (auto pinned = pins_.pin(request_.what.name, "link", link.get()); !pinned)
			return pinned;
		reached(step::attached);
		return programs_->replace(link);
	}

	expected<void> finish()
	{
		reached(step::linked);
		if (auto finished = pins_.finish(request_.what.name, [&] { reached(step::set_aside); }); !finished)
			return finished;
		begun_ = false;
		reached(step::named);
		return {};
	}

	expected<void> switch_over()
	{
		auto set = request_.where->set_sysctl(path_manager_sysctl, request_.what.name);
		if (!set) {
			programs_.reset();
			(void)pins_.remove(request_.what.name);
			return set;
		}
		reached(step::switched);
		meta_.complete = 1;
		return write_meta(programs_->meta(), meta_);
	}

	expected<void> remove_replaced()
	{
		return pins_.remove(meta_.replaces, [&] { reached(step::set_aside); }).and_then([&] {
			reached(step::cleared);
			copy({}, meta_.replaces);
			return write_meta(programs_->meta(), meta_);
		});
	}

	const pin_folder &pins_;
	const attach_request &request_;
	pm_attachment meta_;
	std::optional<programs> programs_;
	bool begun_ = false;
};

expected<pm_attachment> describe(const attach_request &request)
{
	pm_attachment meta{};
	meta.version = PM_ATTACHED_VERSION;
	meta.attached_ns = real_time_ns();
	copy(request.what.name, meta.name);
	copy(std::string{request.what.policy->name}, meta.policy);
	copy(request.netns_name, meta.netns_name);
	meta.settings = request.what.settings;
	if (auto written = write_down(*request.where, meta); !written)
		return tl::unexpected(written.error());
	return meta;
}

expected<detach_result> take_off(const pin_folder &pins, attached found, const std::function<void(step)> &reached = {})
{
	const auto now = [&](step which) {
		if (reached)
			reached(which);
	};
	detach_result result{std::move(found), false, {}};
	const std::string name = result.was.what.name;
	if (auto made = pins.make_room(name); !made)
		return tl::unexpected(made.error());
	if (result.was.state == attached::condition::active) {
		const auto where = find_netns(result.was.what);
		if (!where)
			return tl::unexpected(where.error());
		// As if it was being attached: whoever is killed before it is switched leaves it, and after that it is taken away.
		pm_attachment meta = result.was.what;
		meta.complete = 0;
		if (auto written = write_meta(pins.open_pin(name, "meta").get(), meta); !written)
			return tl::unexpected(written.error());
		now(step::marked);
		result.restored_to = result.was.what.before;
		expected<void> set = (*where)->set_sysctl(path_manager_sysctl, result.restored_to);
		if (!set) { // one in BPF that is gone by now
			result.restored_to = "kernel";
			set = (*where)->set_sysctl(path_manager_sysctl, result.restored_to);
		}
		if (!set) {
			(void)write_meta(pins.open_pin(name, "meta").get(), result.was.what); // it stays
			return tl::unexpected(set.error());
		}
		result.restored = true;
		now(step::restored);
	}
	return pins.remove(name, [&] { now(step::set_aside); }).map([&] {
		now(step::cleared);
		return result;
	});
}

expected<pin_folder> open_to_change(const std::string &folder)
{
	if (auto allowed = check_privileges(); !allowed)
		return tl::unexpected(allowed.error());
	auto pins = pin_folder::open(folder);
	if (pins)
		mend(*pins);
	return pins;
}

} // namespace

expected<void> check_name(const std::string &name)
{
	const bool is_word = std::all_of(name.begin(), name.end(),
					 [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '_'); });
	if (name.empty() || name.size() >= PM_NAME_SIZE || !is_word)
		return fail_usage(
			fmt::format("'{}' cannot be the name of a path manager: it takes 1 to {} letters, digits and "
				    "underscores",
				    name, PM_NAME_SIZE - 1));
	return {};
}

std::string default_name(std::string_view policy)
{
	std::string name{policy.substr(0, PM_NAME_SIZE - 1)};
	std::replace(name.begin(), name.end(), '-', '_');
	return name;
}

expected<attach_result> attach(attach_request request)
{
	if (request.what.name.empty())
		request.what.name = default_name(request.what.policy->name);
	const std::string &name = request.what.name;
	if (auto good = check_name(name); !good)
		return tl::unexpected(good.error());
	if (auto good = check_kernel(); !good)
		return tl::unexpected(good.error());
	const auto pins = open_to_change(request.folder);
	if (!pins)
		return tl::unexpected(pins.error());
	auto meta = describe(request);
	if (!meta)
		return tl::unexpected(meta.error());
	const auto existing = attached_in(*pins, *meta);
	if (existing && !request.replace)
		return fail(fmt::format("{} is managed by '{}' (policy {}) already: `pathlab detach {}` first, or take "
					"--replace",
					place_of(request.netns_name), existing->what.name, existing->what.policy,
					existing->what.name));
	if (!existing || existing->what.name != name) {
		if (pins->has(name))
			return fail(
				fmt::format("there is an attachment called '{}' already: `pathlab detach {}` first, or "
					    "give this one another name with --name",
					    name, name));
		if (auto good = check_name_is_free(name); !good)
			return tl::unexpected(good.error());
		if (auto made = existing ? pins->make_room(existing->what.name) : expected<void>{}; !made)
			return tl::unexpected(made.error());
	}
	const auto lock = keep_daemon_out(*request.where, request.netns_name);
	if (!lock)
		return tl::unexpected(lock.error());
	const auto before = path_manager_of(*request.where);
	if (!before)
		return tl::unexpected(before.error());
	const std::string found = existing ? std::string{existing->what.before} : *before;
	// Its own name was free, so where that is to be put back, it names a path manager that is gone.
	copy(found == name ? "kernel" : found, meta->before);
	if (existing && existing->what.name != name)
		copy(std::string{existing->what.name}, meta->replaces);
	return making(*pins, request, *meta).run(existing);
}

expected<std::vector<attached>> list(const std::string &folder)
{
	std::vector<attached> all;
	if (::access(folder.c_str(), F_OK) != 0 && errno == ENOENT)
		return all;
	const auto pins = open_to_change(folder);
	if (!pins)
		return tl::unexpected(pins.error());
	for (const std::string &name : pins->names()) {
		auto found = look_at(*pins, name);
		if (!found)
			return tl::unexpected(found.error());
		all.push_back(std::move(*found));
	}
	return all;
}

expected<detach_result> detach(const std::string &name, const std::string &folder,
			       const std::function<void(step)> &reached)
{
	const auto pins = open_to_change(folder);
	if (!pins)
		return tl::unexpected(pins.error());
	if (check_name(name) && pins->has(name))
		return look_at(*pins, name).and_then([&](attached &&found) {
			return take_off(*pins, std::move(found), reached);
		});
	std::string names;
	for (const std::string &each : pins->names())
		names += (names.empty() ? "" : ", ") + each;
	return fail(fmt::format("there is no attachment called '{}'; {}", name,
				names.empty() ? "nothing is attached" : "attached are: " + names));
}

expected<detach_result> detach(const netns &where, const std::string &netns_name, const std::string &folder)
{
	const auto pins = open_to_change(folder);
	if (!pins)
		return tl::unexpected(pins.error());
	pm_attachment wanted{};
	if (auto written = write_down(where, wanted); !written)
		return tl::unexpected(written.error());
	// Beside the one in charge there may be one whose place another path manager has taken meanwhile.
	if (auto active = attached_in(*pins, wanted))
		return take_off(*pins, std::move(*active));
	for (const std::string &name : pins->names())
		if (auto found = look_at(*pins, name); found && is_netns_of(found->what, wanted))
			return take_off(*pins, std::move(*found));
	return fail(fmt::format("no policy is attached in {}", place_of(netns_name)));
}

} // namespace pm::bpf
