// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/programs.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>

#include "pm-bpf/interest.hpp"
#include "pm-bpf/manager.skel.h"
#include "pm-bpf/memlock.hpp"
#include "pm-bpf/quiet.hpp"
#include "pm-bpf/verifier_log.hpp"

namespace pm::bpf {

namespace {

// struct mptcp_pm_ops as libbpf hands it out before loading: programs in the places of callbacks.
struct table {
	bpf_program *notified[PM_NOTIFICATION_COUNT];
	bpf_program *accept_new_subflow, *accept_new_address, *get_local_id, *get_priority, *work;
	char name[PM_NAME_SIZE];
	void *owner, *list[2];
};

std::string identifier_of(std::string_view policy)
{
	std::string name{policy};
	std::replace(name.begin(), name.end(), '-', '_');
	return name;
}

bool guards(const attached_policy &what) { return what.most_subflows != 0 || !what.allowed.empty(); }

pm_attached_constants constants_of(const attached_policy &what)
{
	pm_attached_constants constants{};
	if (what.policy->handle) {
		constants.client = interest_of(*what.policy, what.settings, false);
		constants.server = interest_of(*what.policy, what.settings, true);
	}
	constants.interfaces = static_cast<u32>(what.interfaces.size());
	constants.prefixes = static_cast<u32>(what.prefixes.size());
	constants.most_subflows = what.most_subflows;
	constants.guards_addresses = !what.allowed.empty();
	return constants;
}

} // namespace

struct programs::impl {
	manager_bpf *skeleton = nullptr;
	bpf_map *table_map = nullptr;
	u32 table_id = 0, instructions = 0;
	std::vector<std::pair<bpf_program *, std::string>> logs;

	~impl() { manager_bpf__destroy(skeleton); }

	expected<void> open(const attached_policy &what)
	{
		skeleton = manager_bpf__open();
		if (!skeleton)
			return fail_errno("cannot open the BPF object");
		const std::string wanted = "pm_table_" + identifier_of(what.policy->name);
		bpf_map *map = nullptr;
		bpf_object__for_each_map(map, skeleton->obj)
		{
			if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
				continue;
			if (wanted == bpf_map__name(map))
				table_map = map;
			else
				bpf_map__set_autocreate(map, false);
		}
		if (!table_map)
			return fail(
				fmt::format("policy {} was not compiled to BPF: rebuild pm-bpf/", what.policy->name));
		return fill_in(what);
	}

	expected<void> fill_in(const attached_policy &what)
	{
		const pm_attached_constants constants = constants_of(what);
		std::memcpy(const_cast<pm_attached_constants *>(
				    reinterpret_cast<const volatile pm_attached_constants *>(
					    &skeleton->rodata->pm_constants)),
			    &constants, sizeof constants);
		std::size_t size = 0;
		auto *callbacks = static_cast<table *>(bpf_map__initial_value(table_map, &size));
		if (!callbacks || size != sizeof *callbacks)
			return fail("the BPF object has another table of callbacks than its loader: rebuild pm-bpf/");
		std::memset(callbacks->name, 0, sizeof callbacks->name);
		what.name.copy(callbacks->name, sizeof callbacks->name - 1);
		if (!guards(what))
			callbacks->accept_new_subflow = callbacks->accept_new_address = nullptr;
		choose_programs(*callbacks);
		return {};
	}

	// Only what the table refers to, each with a log.
	void choose_programs(const table &callbacks)
	{
		std::vector<const bpf_program *> wanted(std::begin(callbacks.notified), std::end(callbacks.notified));
		for (const bpf_program *each :
		     {callbacks.accept_new_subflow, callbacks.accept_new_address, callbacks.work})
			wanted.push_back(each);
		bpf_program *each = nullptr;
		bpf_object__for_each_program(each, skeleton->obj)
		{
			const bool is_wanted = std::find(wanted.begin(), wanted.end(), each) != wanted.end();
			bpf_program__set_autoload(each, is_wanted);
			if (!is_wanted)
				continue;
			logs.emplace_back(each, std::string(64 << 10, '\0'));
		}
		for (auto &[program, log] : logs) {
			bpf_program__set_log_level(program, 4); // statistics only
			bpf_program__set_log_buf(program, log.data(), log.size());
		}
	}

	expected<void> load(const attached_policy &what)
	{
		if (const int error = manager_bpf__load(skeleton)) {
			errno = -error;
			return fail_errno(fmt::format("the kernel refused the BPF programs of policy {} ({})",
						      what.policy->name, complaint()));
		}
		for (const auto &[program, log] : logs)
			instructions += processed_instructions(log);
		logs.clear();
		bpf_map_info info{};
		u32 size = sizeof info;
		if (bpf_map_get_info_by_fd(bpf_map__fd(table_map), &info, &size) != 0)
			return fail_errno("cannot ask the kernel about the table of callbacks");
		table_id = info.id;
		return write_maps(what);
	}

	// What the verifier said of the program that it refused: the last one that it said anything of.
	std::string complaint() const
	{
		for (auto each = logs.rbegin(); each != logs.rend(); ++each)
			if (each->second[0] != '\0')
				return fmt::format("{}: {}", bpf_program__name(each->first), last_words(each->second));
		return "its verifier says nothing";
	}

	expected<void> write_maps(const attached_policy &what)
	{
		const u32 zero = 0;
		pm_address_filter filter{};
		for (std::size_t i = 0; i < what.interfaces.size(); ++i)
			filter.interface[i] = what.interfaces[i];
		for (std::size_t i = 0; i < what.prefixes.size(); ++i) {
			filter.length[i] = what.prefixes[i].length;
			filter.prefix[i] = what.prefixes[i].address;
		}
		if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.pm_chosen), &zero, &what.settings, BPF_ANY) != 0 ||
		    bpf_map_update_elem(bpf_map__fd(skeleton->maps.pm_filter), &zero, &filter, BPF_ANY) != 0)
			return fail_errno("cannot write the settings into their BPF map");
		for (const auto &each : what.allowed) {
			pm_prefix key{each.length, {}};
			std::memcpy(key.address, each.address.bytes, sizeof key.address);
			if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.pm_allowed), &key, &key.length, BPF_ANY) !=
			    0)
				return fail_errno("cannot write the allowed prefixes into their BPF map");
		}
		for (const bpf_map *each :
		     {skeleton->maps.pm_chosen, skeleton->maps.pm_filter, skeleton->maps.pm_allowed})
			if (bpf_map_freeze(bpf_map__fd(each)) != 0)
				return fail_errno(fmt::format("cannot freeze the BPF map {}", bpf_map__name(each)));
		return {};
	}
};

programs::programs(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
programs::programs(programs &&) noexcept = default;
programs &programs::operator=(programs &&) noexcept = default;
programs::~programs() = default;

expected<programs> programs::load(const attached_policy &what)
{
	if (what.interfaces.size() > PM_MAX_FILTER || what.prefixes.size() > PM_MAX_FILTER)
		return fail(fmt::format("local addresses can be confined to {} interfaces and {} prefixes at most",
					unsigned{PM_MAX_FILTER}, unsigned{PM_MAX_FILTER}));
	if (what.allowed.size() > PM_MAX_ALLOWED)
		return fail(fmt::format("{} prefixes are more than the {} that peers can be confined to",
					what.allowed.size(), unsigned{PM_MAX_ALLOWED}));
	const quiet_libbpf quiet;
	auto made = std::make_unique<impl>();
	if (auto opened = made->open(what); !opened)
		return tl::unexpected(opened.error());
	if (auto loaded = made->load(what); !loaded)
		return tl::unexpected(loaded.error());
	return programs(std::move(made));
}

std::vector<programs::pinned> programs::maps() const
{
	const auto &maps = impl_->skeleton->maps;
	return {{"settings", bpf_map__fd(maps.pm_chosen)}, {"filter", bpf_map__fd(maps.pm_filter)},
		{"allowed", bpf_map__fd(maps.pm_allowed)}, {"counters", bpf_map__fd(maps.pm_counted)},
		{"meta", bpf_map__fd(maps.pm_meta)},       {"table", bpf_map__fd(impl_->table_map)}};
}

int programs::meta() const { return bpf_map__fd(impl_->skeleton->maps.pm_meta); }
u32 programs::table_id() const noexcept { return impl_->table_id; }
u32 programs::verified_instructions() const noexcept { return impl_->instructions; }
pm_counters programs::counted() const { return read_counters(bpf_map__fd(impl_->skeleton->maps.pm_counted)); }

std::uint64_t programs::memory_bytes() const
{
	std::uint64_t bytes = 0;
	bpf_map *map = nullptr;
	bpf_object__for_each_map(map, impl_->skeleton->obj) bytes += memlock_bytes(bpf_map__fd(map)).value_or(0);
	bpf_program *program = nullptr;
	bpf_object__for_each_program(program, impl_->skeleton->obj)
		bytes += memlock_bytes(bpf_program__fd(program)).value_or(0);
	return bytes;
}

std::uint64_t programs::remembered_bytes() const
{
	const pm_counters so_far = counted();
	const pm_u64 opened = so_far.notified[PM_NOTIFIED_created], closed = so_far.notified[PM_NOTIFIED_closed];
	return (opened - std::min(opened, closed)) * bpf_map__value_size(impl_->skeleton->maps.pm_remember);
}

expected<descriptor> programs::attach() const
{
	const quiet_libbpf quiet;
	bpf_link *link = bpf_map__attach_struct_ops(impl_->table_map);
	if (!link)
		return fail_errno("the kernel does not take the table of callbacks");
	descriptor fd(::fcntl(bpf_link__fd(link), F_DUPFD_CLOEXEC, 0));
	const int why = errno;
	bpf_link__destroy(link); // closes its descriptor; ours keeps it
	errno = why;
	if (!fd)
		return fail_errno("cannot keep the registration of the table of callbacks");
	return fd;
}

expected<void> programs::replace(const descriptor &link) const
{
	// libbpf updates only links that it has made itself. What it does to a table beforehand comes with trying to attach it,
	// which cannot succeed: the name is taken by the table that is to be replaced.
	const quiet_libbpf quiet;
	if (bpf_link *another = bpf_map__attach_struct_ops(impl_->table_map)) {
		bpf_link__destroy(another);
		return fail("the table of callbacks that was to be replaced is gone");
	}
	if (errno != EEXIST || bpf_link_update(link.get(), bpf_map__fd(impl_->table_map), nullptr) != 0)
		return fail_errno("the kernel does not take the new table of callbacks in the place of the old one");
	return {};
}

pm_counters read_counters(int map)
{
	constexpr std::size_t words = sizeof(pm_counters) / sizeof(pm_u64);
	static_assert(sizeof(pm_counters) % sizeof(pm_u64) == 0, "they are added up word by word");
	constexpr u32 zero = 0;
	pm_counters sum{};
	const quiet_libbpf quiet;
	const int processors = libbpf_num_possible_cpus();
	std::vector<pm_u64> all(words * static_cast<std::size_t>(std::max(processors, 1)));
	bpf_map_info info{};
	u32 size = sizeof info;
	if (processors < 1 || bpf_map_get_info_by_fd(map, &info, &size) != 0 || info.value_size != sizeof(pm_counters) ||
	    bpf_map_lookup_elem(map, &zero, all.data()) != 0)
		return sum;
	auto *to = reinterpret_cast<pm_u64 *>(&sum);
	for (std::size_t i = 0; i < all.size(); ++i)
		to[i % words] += all[i];
	return sum;
}

} // namespace pm::bpf
